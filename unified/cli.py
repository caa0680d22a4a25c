"""The command line. Light: `unified --help` imports no torch; each command imports what it needs."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from unified.cli_cache import DEFAULT_OUT, cache
from unified.cli_checkpoint import checkpoint_convert, checkpoint_export, checkpoint_info
from unified.cli_estimate import estimate
from unified.cli_tasks import (
    tasks_check,
    tasks_docs,
    tasks_list,
    tasks_new,
    tasks_preview,
    tasks_schema,
    tasks_show,
)
from unified.errors import UserError, did_you_mean, file_error

UNIFIED_IO = "unified-io"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXAMPLES = """\
examples:
  unified tasks list
  unified tasks new my_task --like vqa --data rows.csv
  unified tasks preview my_task.yaml --html preview.html
  unified prompt toy "What is the depth map of the image ?" --image room.png --out depth.png
  unified eval runs/demo --tasks tag:grounding --limit 200
  unified convert unified-io small_1000k.bin models/small

training is a script of its own: python train.py --help
"""
EVAL_EXAMPLES = """\
examples:
  unified eval runs/demo --limit 200
  unified eval toy --tasks toybox_refer,my_task.yaml,tag:vqa --split train
  unified eval runs/vqa --tasks vqav2 --split test --submission results
"""
PROMPT_EXAMPLES = """\
examples:
  unified prompt toy "What is the depth map of the image ?" --image room.png --out depth.png
  unified prompt toy --task toybox_refer --set phrase="red cube" --image room.png --out box.png
"""
CACHE_EXAMPLES = """\
examples:
  unified cache pixels.yaml --tokenizer unified_io --out /data/codes
  unified cache coco_inpaint,nyu_depth --model runs/base --out /data/codes --shard 2/8
  torchrun --nproc-per-node 8 --no-python unified cache pixels.yaml --tokenizer unified_io --out /data/codes

a killed command goes on where it stopped; training reads the folder with data.cache=/data/codes
"""
ESTIMATE_EXAMPLES = """\
examples:
  unified estimate configs/small.yaml --gpus 8
  unified estimate small engine.zero=2 --sizes large,xl --micro-batch 4,16 --gpus 64
  unified estimate small --encoder 512 --decoder 64 --json
"""
CONVERT_EXAMPLES = """\
examples:
  unified convert unified-io small_1000k.bin models/small
  unified prompt models/small "What does the image describe ?" --image room.png
  unified convert models/small again.bin --to unified-io
"""
CONVERT_USAGE = """unified convert unified-io FILE.bin OUT [--size SIZE]
       unified convert MODEL OUT.bin --to unified-io"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0 good, 2 bad input, 130 stopped by Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a letter shows its number
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = _parse(words)
        code = args.run(args)
        sys.stdout.flush()  # here, where a closed pipe is caught
        return code
    except UserError as error:
        return _fail(str(error), debug="--debug" in words)
    except BrokenPipeError:  # `unified tasks list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(file_error(error), debug="--debug" in words)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _fail(message: str, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    else:
        print(f"error: {message}", file=sys.stderr)
    return 2


# -------------------------------------------------------------------------------------- mixtures


def mixture_show(args: argparse.Namespace) -> int:
    from unified.data.dataset import open_tasks
    from unified.data.mixture import mixture_table
    from unified.specs.load import load_mixture

    mixture = load_mixture(args.name)
    print(mixture_table(mixture, {d.task.name: len(d.source) for d in open_tasks(mixture, "train")}))
    return 0


def mixture_lengths(args: argparse.Namespace) -> int:
    from unified.data.dataset import MixtureDataset, open_tasks
    from unified.data.lengths import lengths_table, measure
    from unified.data.mixture import rates
    from unified.data.order import MixtureOrder
    from unified.evaluation.model_folder import build_processor
    from unified.training import setup
    from unified.training.config import load_config

    config = load_config(args.config, args.overrides)
    mixture, tokenizers = setup.load_tasks(config), setup.load_tokenizers(config)
    tasks = open_tasks(mixture, "train")
    rows = {data.task.name: setup.rows_to_learn(data, config.data.overfit) for data in tasks}
    shares = rates(mixture, rows)
    order = MixtureOrder(config.seed, [(name, rows[name], shares[name]) for name in rows])
    processor = build_processor(setup.model_shape(config, tokenizers), tokenizers)
    micro_batch = config.data.micro_batch or config.data.batch_size
    dataset = MixtureDataset(tasks, order, processor, patches=config.data.patches)
    print(lengths_table(measure(dataset, max(args.examples, micro_batch)), micro_batch))
    return 0


# ------------------------------------------------------------------------------------ tokenizers


def train_text(args: argparse.Namespace) -> int:
    from unified.tokenization.train_text import train_text as train

    path = train(args.mixture, Path(args.out), vocab_size=args.vocab_size, n_rows=args.rows, words=args.words)
    print(f"wrote {path}")
    return 0


def train_image(args: argparse.Namespace) -> int:
    from unified.tokenization.train_image import train_image as train

    print(f"wrote {train(Path(args.config), Path(args.out), args.overrides)}")
    return 0


# ------------------------------------------------------------------------------ models and runs


def evaluate(args: argparse.Namespace) -> int:
    from unified.evaluation.evaluator import named_but_absent, run_eval

    results = run_eval(
        args.model, args.tasks, split=args.split, limit=args.limit, out=args.out, submission=args.submission
    )
    if absent := named_but_absent(args.tasks, results):
        raise UserError(f"not evaluated, as told above: {', '.join(absent)}; the others are")
    return 0


def prompt(args: argparse.Namespace) -> int:
    if not args.task and not args.prompt:
        raise UserError("nothing to answer: give a prompt, or --task NAME with --set FIELD=VALUE")
    if args.task and args.prompt:
        raise UserError(f"--task {args.task} has its own prompt; leave '{args.prompt}' out, or --task")
    if args.task and args.target:
        raise UserError(f"--task {args.task} knows its kind of answer; leave --target out")
    if args.set and not args.task:
        raise UserError(f"--set {args.set[0]}: a free prompt has no fields; name the task with --task")
    fields = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UserError(f"--set {item}: write it as FIELD=VALUE")
        if name in fields:
            raise UserError(f"--set {item}: '{name}' is given twice")
        fields[name] = value

    from unified.serving.pipeline import pipeline
    from unified.serving.result import check_writable

    if args.out:
        check_writable(args.out)  # before the model is loaded and asked
    pipe = pipeline(args.model, args.device, dtype=args.dtype, strict=args.strict)
    if args.task:
        result = pipe.ask(args.task, args.image, fields)
    else:
        result = pipe(args.prompt, image=args.image, target=args.target)
    print(json.dumps(result.to_dict(), ensure_ascii=False) if args.json else result.text)
    if result.malformed:
        print("note: the model's output was no whole answer; this is what could be read", file=sys.stderr)
    if args.out:
        print(f"wrote {result.save(args.out)}", file=sys.stderr)
    return 0


def convert(args: argparse.Namespace) -> int:
    kind, files = (args.words[0], args.words[1:]) if args.to is None else (args.to, args.words)
    if len(files) != 2:
        args.parser.error(f"{' '.join(args.words)}: one file or folder to read and one to write are wanted")
    if kind != UNIFIED_IO:
        args.parser.error(f"unknown kind of checkpoint '{kind}'{did_you_mean(kind, [UNIFIED_IO])}")
    source, out = Path(files[0]).expanduser(), Path(files[1])
    if args.to is not None:
        if args.size != "auto":
            raise UserError(f"--size {args.size}: is for reading an official checkpoint; leave it out")
        from unified.conversion.to_official import convert_back

        lines = convert_back(source, out, on_progress=_show_bytes)
    else:
        from unified.conversion.from_official import convert as from_official

        command = shlex.join(["unified", "convert", *args.words, "--size", args.size])
        lines = from_official(source, out, size=args.size, command=command, on_progress=_show_bytes)
    print("\n".join(lines))
    return 0


def _show_bytes(done: int, total: int) -> None:
    print(f"{done / 1e9:.1f} of {total / 1e9:.1f} GB", file=sys.stderr, flush=True)


def report(args: argparse.Namespace) -> int:
    from unified.evaluation.report import write_report

    print(write_report(Path(args.run_dir)))
    return 0


def demo(args: argparse.Namespace) -> int:
    from unified.serving.demo import run_demo

    return run_demo(Path(args.out), args.overrides)


# ---------------------------------------------------------------------------------------- parser


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """The command and its arguments. `key=value` words may stand anywhere behind a command that takes them,
    which argparse alone does not allow."""
    args, rest = _parser().parse_known_args(words)
    if hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides += rest
    elif rest:
        args.parser.error(f"unknown: {' '.join(rest)}")
    return args


class _Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        choice = re.fullmatch(r"argument (.+?): invalid choice: '(.*)' \(choose from (.+)\)", message, re.S)
        if choice:
            known = re.findall(r"[\w-]+", choice[3])
            hint = did_you_mean(choice[2], known)
            message = f"unknown {choice[1]} '{choice[2]}'{hint}; there are {', '.join(known)}"
        raise UserError(f"{message}\n{self.format_usage()}see {self.prog} --help")


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return number


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


class _Help(argparse.RawDescriptionHelpFormatter):
    """Lists subcommands without a heading of their own, and none of them wrapped."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return self._join_parts([self._format_action(a) for a in action._get_subactions()])
        return super()._format_action(action)


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"unified {version('unified')}")
        except PackageNotFoundError:
            print(f"unified, a checkout that is not installed: {Path(__file__).parent.parent}")
        sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="unified",
        description="One encoder-decoder for vision, language and vision-language tasks.",
        epilog=EXAMPLES,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    _add_debug(parser)
    commands = _choices(parser, "command")

    tasks = _group(commands, "tasks", "list, show, check and start task specs")
    p = _command(tasks, "list", tasks_list, "all shipped tasks, and which have their data here")
    p.add_argument("--tag", help="only tasks with this tag")
    _command(tasks, "docs", tasks_docs, "the page of all shipped tasks, in markdown")
    p = _command(tasks, "show", tasks_show, "one task with its includes merged")
    p.add_argument("name", help="task name or path of a YAML file")
    p = _command(tasks, "check", tasks_check, "lint specs, render their prompts, run their checks")
    p.add_argument("paths", nargs="*", help="YAML files, folders or task names (default: all shipped)")
    p.add_argument("--data", action="store_true", help="also read some rows of the data that is here")
    p.add_argument("--tokenizers", default="toy", help="set that answers are taken through (default: toy)")
    p = _command(
        tasks, "preview", tasks_preview, "see rows as a model gets them, and what tokenizing costs them"
    )
    p.add_argument("name", help="task name or path of a YAML file")
    p.add_argument("-n", type=_count, default=16, help="rows, spread over the split (default: %(default)s)")
    p.add_argument(
        "--split", default="train", help="(default: train, read as training does, random choices and all)"
    )
    p.add_argument("--html", metavar="FILE", help="write a page with pictures and ids instead of a table")
    p.add_argument("--tokenizers", metavar="SET", help="name or folder of the tokenizer set (default: toy)")
    p.add_argument(
        "--model", metavar="RUN", help="run or model folder whose set, sizes and lengths are taken"
    )
    p = _command(tasks, "new", tasks_new, "start a task from a shipped one")
    p.add_argument("name", help="of the new task: a-z, 0-9 and _ / . -")
    p.add_argument("--like", required=True, help="shipped task, or a part of its name: vqa, depth, ...")
    p.add_argument("--data", help="CSV, TSV, JSON or JSON lines file: its columns become the fields")
    p.add_argument("--out", help="file to write, never over another one (default: NAME.yaml)")
    _command(tasks, "schema", tasks_schema, "JSON schema of a task spec, for editors")

    mixture = _group(commands, "mixture", "rates of a mixture, lengths of its examples")
    p = _command(mixture, "show", mixture_show, "rows, rate and epochs per million examples of each task")
    p.add_argument("name", help="mixture name or path of a YAML file")
    p = _command(
        mixture, "lengths", mixture_lengths, "how long a run's examples are; budgets for packing them"
    )
    p.add_argument("config", help="of the run: a YAML file, or the name of a shipped one")
    p.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes to it, e.g. data.micro_batch=32"
    )
    p.add_argument("-n", dest="examples", type=int, default=512, help="examples to read (default: 512)")

    checkpoint = _group(commands, "checkpoint", "what a run's checkpoints hold; their weights as a model")
    p = _command(checkpoint, "info", checkpoint_info, "step, ranks, tasks and size of a checkpoint")
    p.add_argument("checkpoint", help="its folder, or that of a run, whose newest one is taken")
    p = _command(checkpoint, "export", checkpoint_export, "its weights as a model folder")
    p.add_argument("checkpoint", help="its folder, or that of a run, whose newest one is taken")
    p.add_argument("--out", metavar="RUN", help="folder to write model/ into (default: that of its run)")
    p = _command(checkpoint, "convert", checkpoint_convert, "DeepSpeed's universal form, for other programs")
    p.add_argument("checkpoint", help="its folder, or that of a run, whose newest one is taken")
    p.add_argument("--out", metavar="FOLDER", required=True, help="new folder to write")

    p = _command(commands, "cache", cache, "make the image codes of picture answers once", CACHE_EXAMPLES)
    p.add_argument("what", metavar="MIXTURE|TASK[,..]", help="names or paths of YAML files")
    p.add_argument("--tokenizer", metavar="SET", help="name or folder of the tokenizer set")
    p.add_argument("--model", metavar="RUN", help="run or model folder whose set and picture size are meant")
    p.add_argument("--split", default="train", help="(default: %(default)s)")
    p.add_argument("--size", type=_count, help="side of the encoded pictures (default: the set's or model's)")
    p.add_argument("--out", default=DEFAULT_OUT, help="folder of the cache (default: %(default)s)")
    p.add_argument(
        "--shard", default="1/1", metavar="I/N", help="do the I-th of N parts, e.g. one on each host"
    )

    tokenizers = _group(commands, "tokenizers", "train the tokenizers of a set")
    p = _command(tokenizers, "train-text", train_text, "sentencepiece on prompts and targets of a mixture")
    p.add_argument("mixture", help="mixture name or path of a YAML file")
    p.add_argument("--out", required=True, help="folder of the tokenizer set; text.model is written there")
    p.add_argument("--vocab-size", type=_count, default=2048, help="pieces (default: %(default)s)")
    p.add_argument("--rows", type=_count, default=200, help="rows read from each task (default: %(default)s)")
    p.add_argument("--words", help="file of further words, one a line, for texts that the tasks do not have")
    p = _command(tokenizers, "train-image", train_image, "a VQGAN on the images of a mixture")
    p.add_argument("config", help="e.g. tokenizers/toy/vqgan.yaml")
    p.add_argument(
        "--out", required=True, help="folder of the tokenizer set; vqgan.safetensors is written there"
    )
    p.add_argument("overrides", nargs="*", metavar="key=value", help="changes to `training`, e.g. steps=100")

    p = _command(
        commands, "eval", evaluate, "score a model on tasks, beside baseline and ceiling", EVAL_EXAMPLES
    )
    p.add_argument("model", help="run folder, model folder, or shipped model (toy)")
    p.add_argument(
        "--tasks",
        default="all",
        help='task names, paths and "tag:NAME", comma-separated (default: all that the model carries); those '
        "without data here are listed, and an error only where named or nothing else is left",
    )
    p.add_argument("--split", default="validation", help="(default: %(default)s)")
    p.add_argument("--limit", type=_count, help="rows of each task (default: all)")
    p.add_argument("--out", help="folder for results.json and predictions.jsonl (default: RUN/eval/SPLIT)")

    p.add_argument("--submission", help="folder for the result files that the servers of benchmarks take")

    p = _command(commands, "prompt", prompt, "ask a model", PROMPT_EXAMPLES)
    p.add_argument("model", help="run folder, model folder, or shipped model (toy)")
    p.add_argument(
        "prompt", nargs="?", help="a question in your words; those of a known task follow its rules"
    )
    p.add_argument("--image", action="append", default=[], help="picture file; may be repeated")
    p.add_argument("--task", help="answer as this task, with its constraints and typed result")
    p.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of --task")
    p.add_argument(
        "--target", help="kind of answer to a prompt that no task matches: boxes, depth, ... (default: text)"
    )
    p.add_argument("--out", help="file for the answer: drawn over the image, the image itself, or .json")
    p.add_argument("--json", action="store_true", help="print the typed answer as JSON")
    p.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: an accelerator if there is one)")
    p.add_argument(
        "--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="number type (default: %(default)s)"
    )
    p.add_argument(
        "--strict", action="store_true", help="answer as the official Unified-IO code, quirks included"
    )

    p = _command(
        commands,
        "convert",
        convert,
        "an official Unified-IO checkpoint to a model, and back",
        CONVERT_EXAMPLES,
    )
    p.usage = CONVERT_USAGE
    p.add_argument(
        "words", nargs="+", metavar="FILE", help="what to read, and what to write: never over another one"
    )
    p.add_argument(
        "--size",
        default="auto",
        help="auto (read off the shapes), small, base, large or xl (default: %(default)s)",
    )
    p.add_argument("--to", choices=[UNIFIED_IO], help="write a model folder as an official checkpoint")

    p = _command(
        commands, "estimate", estimate, "memory per GPU of a run, by size and ZeRO stage", ESTIMATE_EXAMPLES
    )
    p.add_argument("config", help="of the run: a YAML file, or the name of a shipped one")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="changes to it, e.g. engine.zero=3")
    p.add_argument("--gpus", type=_count, default=8, help="over all hosts (default: %(default)s)")
    p.add_argument("--sizes", metavar="NAME[,..]", help="other models (default: the official sizes)")
    p.add_argument(
        "--micro-batch",
        type=_counts,
        metavar="N[,..]",
        help="examples (default: half, once, twice the run's)",
    )
    p.add_argument("--encoder", type=_count, help="positions of an example (default: measured on the data)")
    p.add_argument("--decoder", type=_count, help="likewise")
    p.add_argument(
        "-n", dest="examples", type=_count, default=64, help="examples to measure (default: %(default)s)"
    )
    p.add_argument("--json", action="store_true", help="print all parts, in bytes, as JSON")

    p = _command(commands, "report", report, "write report.html of a run")
    p.add_argument("run_dir", help="run folder, or a folder that holds results.json")

    p = _command(commands, "demo", demo, "train the toy model on the built-in world, evaluate, report")
    p.add_argument("--out", default="runs/demo", help="run folder (default: %(default)s)")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="changes to configs/demo.yaml")
    return parser


def _choices(parser: argparse.ArgumentParser, what: str) -> Commands:
    """Subcommands; without one the help is shown."""

    def show_help(args: argparse.Namespace) -> int:
        parser.print_help()
        return 2

    parser.set_defaults(run=show_help, parser=parser)
    return parser.add_subparsers(metavar=what, title=f"{what}s")


def _group(commands: Commands, name: str, help: str) -> Commands:
    return _choices(
        commands.add_parser(name, help=help, description=_sentence(help), formatter_class=_Help), "action"
    )


def _command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    examples: str | None = None,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=_sentence(help),
        epilog=examples,
        formatter_class=_Help,
    )
    _add_debug(parser)
    parser.set_defaults(run=run, parser=parser)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


if __name__ == "__main__":
    sys.exit(main())

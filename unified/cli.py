"""The command line. Light: `unified --help` imports no torch; each command imports what it needs."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from unified.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (0 good, 1 a check failed, 2 bad input)."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except UserError as error:
        if args.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `unified tasks list | head`
        sys.stderr.close()
        return 0


# ------------------------------------------------------------------------------- tasks, mixtures


def tasks_list(args: argparse.Namespace) -> int:
    from unified.specs.load import list_tasks, load_task

    rows, broken = [], []
    for path in list_tasks():
        try:
            task = load_task(path)
        except UserError as error:
            broken.append((path, error))
            continue
        if not args.tag or args.tag in task.spec.tags:
            images = len(task.spec.input.images)
            takes = "text" if not images else "image+text" if images == 1 else f"{images} images+text"
            rows.append((task.name, f"{takes} -> {task.spec.modality}", ", ".join(task.spec.tags)))
    for line in _columns([("task", "in -> out", "tags"), *rows]):
        print(line)
    for path, error in broken:  # a spec that cannot be read never disappears from a listing
        print(f"unreadable: {path}\n  {error}", file=sys.stderr)
    return 2 if broken else 0


def tasks_show(args: argparse.Namespace) -> int:
    from unified.specs.load import load_task, to_yaml

    task = load_task(args.name)
    print(f"# {task.identity}  {task.path}")
    print(to_yaml(task.resolved), end="")
    return 0


def tasks_check(args: argparse.Namespace) -> int:
    from unified.specs.check import check_tasks
    from unified.specs.load import list_tasks

    report = check_tasks(args.paths or list_tasks())
    print(report)
    return 2 if report.problems else 0


def tasks_new(args: argparse.Namespace) -> int:
    from unified.specs.check import new_task

    path = Path(args.out or f"{args.name}.yaml")
    if path.exists():
        raise UserError(f"{path} exists already; choose another name or --out")
    text = new_task(args.name, like=args.like, source=Path(args.data) if args.data else None, out=path)
    path.write_text(text)
    print(f"wrote {path}; edit it, then: unified tasks check {path}")
    return 0


def tasks_schema(args: argparse.Namespace) -> int:
    from unified.specs.check import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


def mixture_show(args: argparse.Namespace) -> int:
    from unified.data.dataset import open_tasks
    from unified.data.mixture import mixture_table
    from unified.specs.load import load_mixture

    mixture = load_mixture(args.name)
    print(mixture_table(mixture, {d.task.name: len(d.source) for d in open_tasks(mixture, "train")}))
    return 0


# ------------------------------------------------------------------------------------ tokenizers


def train_text(args: argparse.Namespace) -> int:
    from unified.tokenization.train_text import train_text as train

    train(args.mixture, Path(args.out), vocab_size=args.vocab_size, n_rows=args.rows, words=args.words)
    return 0


def train_image(args: argparse.Namespace) -> int:
    from unified.tokenization.train_image import train_image as train

    train(Path(args.config), Path(args.out), args.overrides)
    return 0


# ------------------------------------------------------------------------------ models and runs


def evaluate(args: argparse.Namespace) -> int:
    from unified.evaluation.evaluator import run_eval

    run_eval(args.model, args.tasks, split=args.split, limit=args.limit, out=args.out)
    return 0


def prompt(args: argparse.Namespace) -> int:
    from unified.serving.pipeline import pipeline

    fields = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write it as field=value")
        fields[name] = value
    pipe = pipeline(args.model)
    if args.task:
        result = pipe.task(args.task, image=args.image or None, **fields)
    elif args.prompt:
        result = pipe(args.prompt, image=args.image or None, target=args.target)
    else:
        raise UserError("nothing to answer: give a prompt, or --task NAME with --set field=value")
    print(json.dumps(result.to_dict()) if args.json else result.text)
    if args.out:
        print(f"wrote {result.save(args.out)}", file=sys.stderr)
    return 0


def report(args: argparse.Namespace) -> int:
    from unified.evaluation.report import write_report

    print(write_report(Path(args.run_dir)))
    return 0


def demo(args: argparse.Namespace) -> int:
    from unified.serving.demo import run_demo

    return run_demo(Path(args.out), args.overrides)


# ---------------------------------------------------------------------------------------- parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unified", description="One encoder-decoder for vision, language and vision-language tasks."
    )
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    commands = parser.add_subparsers(required=True, metavar="command")

    tasks = commands.add_parser("tasks", help="list, show, check and start task specs")
    tasks = tasks.add_subparsers(required=True, metavar="action")
    p = _command(tasks, "list", tasks_list, "all known tasks")
    p.add_argument("--tag", help="only tasks with this tag")
    p = _command(tasks, "show", tasks_show, "one task after its includes")
    p.add_argument("name", help="task name or path of a YAML")
    p = _command(tasks, "check", tasks_check, "lint specs, render their prompts, run their checks")
    p.add_argument("paths", nargs="*", help="YAML files, folders or task names (default: all shipped)")
    p = _command(tasks, "new", tasks_new, "start a task from a shipped one")
    p.add_argument("name")
    p.add_argument("--like", required=True, help="shipped task, or its last part: vqa, refer, caption, depth ...")
    p.add_argument("--data", help="CSV, JSON lines or parquet file: its columns become the fields")
    p.add_argument("--out", help="default: NAME.yaml")
    _command(tasks, "schema", tasks_schema, "JSON schema of a task spec, for editors")

    mixture = commands.add_parser("mixture", help="rates of a mixture")
    mixture = mixture.add_subparsers(required=True, metavar="action")
    p = _command(mixture, "show", mixture_show, "rows, rate and epochs per million examples of each task")
    p.add_argument("name", help="mixture name or path of a YAML")

    tokenizers = commands.add_parser("tokenizers", help="train the tokenizers of a set")
    tokenizers = tokenizers.add_subparsers(required=True, metavar="action")
    p = _command(tokenizers, "train-text", train_text, "sentencepiece on the prompts and targets of a mixture")
    p.add_argument("mixture")
    p.add_argument("--out", required=True, help="folder of the tokenizer set")
    p.add_argument("--vocab-size", type=int, default=2048)
    p.add_argument("--rows", type=int, default=200, help="rows read from each task")
    p.add_argument("--words", help="a file of further words, one a line, for texts that the tasks do not have")
    p = _command(tokenizers, "train-image", train_image, "a VQGAN on the images of a mixture")
    p.add_argument("config", help="e.g. tokenizers/toy/vqgan.yaml")
    p.add_argument("--out", required=True, help="folder of the tokenizer set")
    p.add_argument("overrides", nargs="*", metavar="key=value")

    p = _command(commands, "eval", evaluate, "score a model on tasks, beside baseline and ceiling")
    p.add_argument("model", help="run folder, model folder, or shipped model (toy)")
    p.add_argument("--tasks", default="all", help='task names, paths and "tag:NAME", comma-separated')
    p.add_argument("--split", default="validation")
    p.add_argument("--limit", type=int, help="rows of each task")
    p.add_argument("--out", help="folder for results.json and predictions.jsonl")

    p = _command(commands, "prompt", prompt, "ask a model")
    p.add_argument("model", help="run folder, model folder, or shipped model (toy)")
    p.add_argument("prompt", nargs="?")
    p.add_argument("--image", action="append", default=[], help="may be repeated")
    p.add_argument("--task", help="answer as this task, with its constraints and typed result")
    p.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of --task")
    p.add_argument("--target", help="kind of answer to a free prompt that no task matches (default: text)")
    p.add_argument("--out", help="write the answer: drawn over the image, or the image itself")
    p.add_argument("--json", action="store_true", help="print the typed answer as JSON")

    p = _command(commands, "report", report, "write report.html of a run")
    p.add_argument("run_dir")

    p = _command(commands, "demo", demo, "train the toy model on the built-in world, evaluate, report")
    p.add_argument("--out", default="runs/demo")
    p.add_argument("overrides", nargs="*", metavar="key=value")
    return parser


def _command(
    group: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=help, description=help)
    parser.set_defaults(run=run)
    return parser


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


if __name__ == "__main__":
    sys.exit(main())

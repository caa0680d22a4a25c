"""`unified cache`: the image codes of a mixture's picture answers, made once."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from unified.cli.parsing import Commands, command, positive
from unified.errors import UserError, did_you_mean, file_error

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask
    from unified.tokenization.tokenizer_set import TokenizerSet

DEFAULT_OUT = "runs/codes"
EXAMPLES = """\
examples:
  unified cache pixels.yaml --tokenizer unified_io --out /data/codes
  unified cache coco_inpaint,nyu_depth --model runs/base --out /data/codes --shard 2/8
  torchrun --nproc-per-node 8 --no-python unified cache pixels.yaml --tokenizer unified_io --out /data/codes

a killed command goes on where it stopped; training reads the folder with data.cache=/data/codes
"""


def add(commands: Commands) -> None:
    p = command(commands, "cache", cache, "make the image codes of picture answers once", EXAMPLES)
    p.add_argument("what", metavar="MIXTURE|TASK[,..]", help="names or paths of YAML files")
    p.add_argument("--tokenizer", metavar="SET", help="name or folder of the tokenizer set")
    p.add_argument("--model", metavar="RUN", help="run or model folder whose set and picture size are meant")
    p.add_argument("--split", default="train", help="(default: %(default)s)")
    p.add_argument(
        "--size", type=positive, help="side of the encoded pictures (default: the set's or model's)"
    )
    p.add_argument("--out", default=DEFAULT_OUT, help="folder of the cache (default: %(default)s)")
    p.add_argument(
        "--shard", default="1/1", metavar="I/N", help="do the I-th of N parts, e.g. one on each host"
    )


def cache(args: argparse.Namespace) -> int:
    index, count = _part(args.shard)
    if (args.tokenizer is None) == (args.model is None):
        raise UserError("give exactly one of --tokenizer SET and --model RUN: whose image codes are wanted?")
    if "RANK" in os.environ:  # under torchrun: this process's share of the cores, before torch counts them
        from unified.training.launch import prepare_environment

        prepare_environment()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    tasks = _tasks(args.what)
    tokenizers, size = _tokenizers(args.tokenizer, args.model)

    from unified.data.code_writer import Progress, part, plan, write_codes
    from unified.data.dataset import TaskData
    from unified.sources.open import open_source

    opened = [TaskData.of(task, open_source(task, args.split)) for task in _pictures_only(tasks, args.what)]
    root = Path(args.out).expanduser()
    jobs, left_out = plan(opened, args.split, tokenizers, args.size or size, root)
    _writable(root)
    mine = list(part(jobs, index * world + rank, count * world))
    if rank == 0:
        for line in left_out:
            print(f"not cached, made on the fly in training: {line}")
    progress = Progress(mine, sys.stderr)
    tally = write_codes(mine, tokenizers, _device(), progress)
    progress.close()
    of = f"part {index * world + rank + 1} of {count * world}: " if count * world > 1 else ""
    print(f"{of}{tally.rows:,} rows encoded, {tally.known:,} were there; {root}")
    if tally.absent:
        total = tally.rows + tally.known
        print(
            f"{tally.absent:,} of {total:,} rows cannot be used and have no codes; of each task, the first:"
        )
        print("\n".join(f"  {name}: {example}" for name, example in tally.examples.items()))
    return 0


def _part(text: str) -> tuple[int, int]:
    """`2/8` -> (1, 8)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: write it as i/n with i from 1 to n: 1/8, 2/8, ... 8/8")
    return int(match[1]) - 1, int(match[2])


def _tasks(what: str) -> list[LoadedTask]:
    """The tasks of a mixture, or of a list of names, paths and mixtures."""
    from unified.specs.library import kind_of, list_mixtures, task_files
    from unified.specs.load import load_mixture, load_task

    mixtures = {path.stem for path in list_mixtures()}
    found: dict[str, LoadedTask] = {}
    for word in filter(None, (part.strip() for part in what.split(","))):
        path = Path(word).expanduser()
        is_file = path.suffix in (".yaml", ".yml") and path.is_file()
        if word in mixtures or (is_file and kind_of(path) == "mixture"):
            found |= {entry.task.name: entry.task for entry in load_mixture(word).entries}
        elif is_file or path.suffix in (".yaml", ".yml") or word in task_files():
            task = load_task(word)
            found[task.name] = task
        else:
            hint = did_you_mean(word, [*mixtures, *task_files()]) or "; see `unified tasks list`"
            raise UserError(f"unknown mixture or task '{word}'{hint}")
    if not found:
        raise UserError(f"'{what}' names no mixture and no task")
    return list(found.values())


def _pictures_only(tasks: list[LoadedTask], what: str) -> list[LoadedTask]:
    """The tasks whose answers are pictures; the data of the others need not be there."""
    from unified.values.types import DENSE_TYPES

    found = [task for task in tasks if task.spec.modality in DENSE_TYPES]
    if not found:
        kinds = ", ".join(sorted({task.spec.modality for task in tasks}))
        raise UserError(
            f"{what}: no task answers with a picture ({kinds} only), so there are no codes to keep"
        )
    return found


def _tokenizers(name: str | None, model: str | None) -> tuple[TokenizerSet, int]:
    """The set that is meant, and the side of the pictures that are made of it."""
    from unified.tokenization.tokenizer_set import TokenizerSet

    if model is None:
        assert name is not None
        tokenizers = TokenizerSet.load(name)
        return tokenizers, tokenizers.config.image.size
    from unified.evaluation.model_folder import find_model_folder, read_config, read_tokenizers

    folder = find_model_folder(model)
    tokenizers = read_tokenizers(folder)
    return tokenizers, read_config(folder).target_grid * tokenizers.code_cell


def _writable(root: Path) -> None:
    """Raises UserError where nothing can be written: now, not after an hour of reading."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        error.filename = str(root)
        raise UserError(f"--out: {file_error(error)}") from None


def _device() -> str:
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"

"""The command line, one module a group of commands. Light: `unified --help` imports no torch; each command
imports what it needs."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from unified.cli import (
    app,
    cache,
    checkpoint,
    compare,
    convert,
    demo,
    doctor,
    estimate,
    evaluate,
    mixture,
    prompt,
    serve,
    tasks,
    tokenizers,
)
from unified.cli.parsing import Help, Parser, Version, add_debug, choices
from unified.errors import UserError, file_error
from unified.training.launch import spin_briefly

GROUPS = (
    tasks,
    mixture,
    checkpoint,
    cache,
    tokenizers,
    evaluate,
    compare,
    prompt,
    app,
    serve,
    convert,
    estimate,
    demo,
    doctor,
)
"""In the order of the help."""

EXAMPLES = """\
examples:
  unified tasks list
  unified tasks new my_task --like vqa --data rows.csv
  unified tasks preview my_task.yaml --html preview.html
  unified prompt toy "What is the depth map of the image ?" --image room.png --out depth.png
  unified app runs/demo
  unified eval runs/demo --tasks tag:grounding --limit 200
  unified compare runs/demo runs/other
  unified convert unified-io small_1000k.bin models/small

training is a script of its own: python train.py --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0 good, 2 bad input, 130 stopped by Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a letter shows its number
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = _parse(words)
        spin_briefly()
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


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """The command and its arguments. `key=value` words may stand anywhere behind a command that takes them,
    which argparse alone does not allow."""
    args, rest = parser().parse_known_args(words)
    if hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides += rest
    elif rest:
        args.parser.error(f"unknown: {' '.join(rest)}")
    return args


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(
        prog="unified",
        description="One encoder-decoder for vision, language and vision-language tasks.",
        epilog=EXAMPLES,
        formatter_class=Help,
    )
    top.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    add_debug(top)
    commands = choices(top, "command")
    for group in GROUPS:
        group.add(commands)
    return top

"""`unified convert`: official Unified-IO checkpoints to models, and back."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from unified.cli.parsing import Commands, command
from unified.errors import UserError, did_you_mean

UNIFIED_IO = "unified-io"
EXAMPLES = """\
examples:
  unified convert unified-io small_1000k.bin models/small
  unified prompt models/small "What does the image describe ?" --image room.png
  unified convert models/small again.bin --to unified-io
"""
USAGE = """unified convert unified-io FILE.bin OUT [--size SIZE]
       unified convert MODEL OUT.bin --to unified-io"""


def add(commands: Commands) -> None:
    p = command(
        commands,
        "convert",
        convert,
        "an official Unified-IO checkpoint to a model, and back",
        EXAMPLES,
    )
    p.usage = USAGE
    p.add_argument(
        "words", nargs="+", metavar="FILE", help="what to read, and what to write: never over another one"
    )
    p.add_argument(
        "--size",
        default="auto",
        help="auto (read off the shapes), small, base, large or xl (default: %(default)s)",
    )
    p.add_argument("--to", choices=[UNIFIED_IO], help="write a model folder as an official checkpoint")


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

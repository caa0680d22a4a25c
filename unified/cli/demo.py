"""`unified demo`: the main job on the built-in world."""

from __future__ import annotations

import argparse
from pathlib import Path

from unified.cli.parsing import Commands, command


def add(commands: Commands) -> None:
    p = command(commands, "demo", demo, "train the toy model on the built-in world, evaluate, report")
    p.add_argument("--out", default="runs/demo", help="run folder (default: %(default)s)")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="changes to configs/demo.yaml")


def demo(args: argparse.Namespace) -> int:
    from unified.serving.demo import run_demo

    return run_demo(Path(args.out), args.overrides)

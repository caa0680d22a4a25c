"""`unified doctor` and `unified completion`: help for the machine and for the shell."""

from __future__ import annotations

import argparse
from pathlib import Path

from unified.cli.parsing import Commands, command

SHELLS = ("bash", "zsh", "tcsh")
COMPLETION_EXAMPLES = """\
examples:
  unified completion bash > ~/.local/share/bash-completion/completions/unified
  unified completion zsh > "${fpath[1]}/_unified"
"""


def add(commands: Commands) -> None:
    p = command(commands, "doctor", doctor, "what this machine has and lacks for training and serving")
    p.add_argument("--runs", default="runs", help="folder that runs are written to (default: %(default)s)")

    p = command(
        commands, "completion", completion, "completion of commands and options for a shell",
        COMPLETION_EXAMPLES,
    )  # fmt: skip
    p.add_argument("shell", choices=SHELLS)


def doctor(args: argparse.Namespace) -> int:
    """0, or 1 where something that is needed does not work."""
    from unified.training.doctor import examine

    found = examine(Path(args.runs).expanduser())
    width = max(len(finding.name) for finding in found)
    marks = {"good": "  ", "note": "! ", "bad": "X "}
    for finding in found:
        print(f"{marks[finding.state]}{finding.name:{width}}  {finding.text}")
    bad = sum(finding.state == "bad" for finding in found)
    notes = sum(finding.state == "note" for finding in found)
    print(f"{bad} to mend (X), {notes} to know (!)" if bad or notes else "all is well")
    return 1 if bad else 0


def completion(args: argparse.Namespace) -> int:
    import shtab

    from unified.cli import parser

    print(shtab.complete(parser(), shell=args.shell))
    return 0

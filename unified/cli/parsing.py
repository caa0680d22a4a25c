"""How commands are declared, and how bad words on the command line are told."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from unified.errors import UserError, did_you_mean

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def choices(parser: argparse.ArgumentParser, what: str) -> Commands:
    """Subcommands; without one the help is shown."""

    def show_help(args: argparse.Namespace) -> int:
        parser.print_help()
        return 2

    parser.set_defaults(run=show_help, parser=parser)
    return parser.add_subparsers(metavar=what, title=f"{what}s")


def group(commands: Commands, name: str, help: str) -> Commands:
    return choices(
        commands.add_parser(name, help=help, description=_sentence(help), formatter_class=Help), "action"
    )


def command(
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
        formatter_class=Help,
    )
    add_debug(parser)
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return number


def natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 0")
    return int(text)


def positives(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        choice = re.fullmatch(r"argument (.+?): invalid choice: '(.*)' \(choose from (.+)\)", message, re.S)
        if choice:
            known = re.findall(r"[\w-]+", choice[3])
            hint = did_you_mean(choice[2], known)
            message = f"unknown {choice[1]} '{choice[2]}'{hint}; there are {', '.join(known)}"
        raise UserError(f"{message}\n{self.format_usage()}see {self.prog} --help")


class Help(argparse.RawDescriptionHelpFormatter):
    """Lists subcommands without a heading of their own, and none of them wrapped."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return self._join_parts([self._format_action(a) for a in action._get_subactions()])
        return super()._format_action(action)


class Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"unified {version('unified')}")
        except PackageNotFoundError:
            print(f"unified, a checkout that is not installed: {Path(__file__).parents[2]}")
        sys.exit(0)

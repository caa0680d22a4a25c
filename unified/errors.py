"""The one exception a user is meant to see."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: the command line prints the message and exits with code 2, without a stack trace.

    The message says what is wrong, where, why, and how to mend it, one problem a line. Everything
    that a user can get wrong (files, specs, configs, prompts, checkpoints) raises this or a
    subclass; any other exception is a bug in unified.
    """


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """`" (did you mean 'metrics'?)"` for the closest known word, or an empty string."""
    import difflib

    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""

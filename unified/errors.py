"""The one exception a user is meant to see."""

from __future__ import annotations

import errno

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of an OSError: a full disk, a used-up quota, a limit on the size of files."""


class UserError(Exception):
    """Bad input: the command line prints the message and exits with code 2, without a stack trace.

    The message says what is wrong, where, why, and how to mend it, one problem a line. Everything
    that a user can get wrong (files, specs, configs, prompts, checkpoints) raises this or a
    subclass; any other exception is a bug in unified.
    """


def file_error(error: OSError) -> str:
    """What the system would not do with a file or folder, for a person: the path, why, and the mend."""
    why = {
        errno.ENOENT: "there is no such file or folder",
        errno.EEXIST: "a file of that name is in the way of a folder; choose another place or move it",
        errno.ENOTDIR: "a part of that path is a file, not a folder; choose another place",
        errno.EISDIR: "is a folder, where a file is wanted",
        errno.EACCES: "permission denied; choose another place or change its permissions",
        errno.EPERM: "permission denied; choose another place or change its permissions",
        errno.EROFS: "cannot be written: that disk is read-only; choose another place",
        errno.ENOSPC: "the disk is full; make room and run the same command again",
        errno.EDQUOT: "the disk quota is used up; make room and run the same command again",
        errno.EFBIG: "a file would be larger than is allowed here (see ulimit -f)",
        errno.ENAMETOOLONG: "the name is too long",
    }.get(error.errno or 0, error.strerror or str(error))
    path = error.filename2 or error.filename
    return f"{path}: {why}" if path else why


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """`" (did you mean 'metrics'?)"` for the closest known word, or an empty string."""
    import difflib

    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""

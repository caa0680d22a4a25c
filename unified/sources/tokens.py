"""Text that is stored as tokens, some of which point at objects of the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from unified.specs.example import BadRow

_NO_SPACE_BEFORE = re.compile(r"[.,?!;:%)\]]+|'\w*|n't", re.IGNORECASE)
_NO_SPACE_AFTER = ("(", "[", "$", "#")


def to_tagged_text(raw: Any, objects: Sequence[str] | None) -> str:
    """Words and lists of indices into `objects`, as one text.

    An index becomes the object's name and its number, counted from 1, as in `person1`; several become
    `person1, person2 and car3` (VCR, Zellers et al. 2019: `question`, `answer_choices`, ...). Marks are set
    as in print: no space before `?`, `'s` or `n't`.
    """
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, (list, tuple)):
        raise BadRow(f"tokens are a list, found {type(raw).__name__}")
    text = ""
    for token in raw:
        word = token if isinstance(token, str) else _tags(token, objects)
        glued = not text or text.endswith(_NO_SPACE_AFTER) or _NO_SPACE_BEFORE.fullmatch(word)
        text += word if glued else f" {word}"
    return text


def _tags(indices: Any, objects: Sequence[str] | None) -> str:
    if objects is None:
        raise BadRow("a token points at objects; name their list with `labels`")
    if not isinstance(indices, (list, tuple)) or not indices:
        raise BadRow(f"a token is a word or a list of indices of objects, found {indices!r}")
    tags = []
    for index in indices:
        if not isinstance(index, int) or not 0 <= index < len(objects):
            raise BadRow(f"a token points at object {index!r}, of objects 0 to {len(objects) - 1}")
        tags.append(f"{objects[index]}{index + 1}")
    return " and ".join(filter(None, [", ".join(tags[:-1]), tags[-1]]))

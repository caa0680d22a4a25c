"""Pydantic's complaints as problems: at the line of the key, in readable words, with the mend."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from unified.errors import did_you_mean
from unified.specs.document import Document, Key
from unified.specs.problems import Problem

Model = TypeVar("Model", bound=BaseModel)
ROUNDS = 4
"""How often mended data is validated again: a mended key may hold further mistakes."""


def validate(model: type[Model], document: Document) -> tuple[Model | None, list[Problem]]:
    """The document as a model, and its problems.

    Keys and words whose mend is evident are mended (in a copy), so that rules which span several
    keys can still be checked; the model is None where that is not enough.
    """
    problems: dict[Problem, None] = {}
    work = replace(document, data=copy.deepcopy(document.data), places=dict(document.places))
    dropped: set[Key] = set()
    for _ in range(ROUNDS):
        try:
            return model.model_validate(work.data), list(problems)
        except ValidationError as error:
            details: dict[Key, list[ErrorDetails]] = {}
            for detail in error.errors(include_url=False):
                details.setdefault(_key(work.data, detail), []).append(detail)
        mends: list[tuple[Key, Mend | None]] = []
        for key, here in details.items():
            if key in dropped and here[0]["type"] == "missing":
                mends.append((key, None))  # it was there, and what is wrong with it has been said
                continue
            message, mend = _explain(model, work, key, here)
            if mend == Mend() and isinstance(key[-1], int):
                mend = None  # a list without the item would be another list
            problems[work.problem(key, message)] = None
            mends.append((key, mend))
        if any(mend is None for _, mend in mends):
            break
        for key, mend in mends:
            _apply(work, key, mend or Mend())
        dropped |= {key for key, mend in mends if mend == Mend()}
    return None, list(problems)


def _key(data: Any, detail: ErrorDetails) -> Key:
    """Pydantic's location in the raw data: without the names of union members, and no deeper than
    what was written."""
    key: Key = ()
    for part in detail["loc"]:
        if part in (data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()):
            data = data[part]
            key = (*key, part)
    if detail["type"] == "missing" and isinstance(data, dict):
        key = (*key, detail["loc"][-1])
    if detail["type"].startswith("union_tag"):
        key = (*key, detail["ctx"]["discriminator"].strip("'"))
    return key


# ------------------------------------------------------------------------------------- messages

KINDS = {
    "string_type": "text", "int_type": "a whole number", "int_parsing": "a whole number",
    "int_from_float": "a whole number", "float_type": "a number", "float_parsing": "a number",
    "bool_type": "true or false", "bool_parsing": "true or false", "list_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
    "tuple_type": "a list",
}  # fmt: skip
BOUNDS = {
    "greater_than": ("gt", "more than"), "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"), "less_than_equal": ("le", "at most"),
}  # fmt: skip


class Mend(NamedTuple):
    """What to change so that validation can go on: a key's name, a value, or (neither) drop the key."""

    name: str | None = None
    value: str | None = None


def _explain(
    model: type[BaseModel], work: Document, key: Key, details: list[ErrorDetails]
) -> tuple[str, Mend | None]:
    kind, context, value = details[0]["type"], details[0].get("ctx", {}), work.get(key)
    if kind == "extra_forbidden":
        at_top = () if work.prefix or len(key) > 1 else ("include",)
        message, word = _unknown("key", key[-1], [*_known_keys(model, work.data, key[:-1]), *at_top])
        return message, Mend(name=word) if word not in at_top else None
    if kind in ("literal_error", "union_tag_invalid"):
        known = re.findall(r"'(.*?)'", context.get("expected") or context["expected_tags"])
        message, word = _unknown("value", value, known)
        return message, Mend(value=word) if word else None
    if kind == "union_tag_not_found":
        return "a required key is missing; it says where rows come from, e.g. `type: jsonl`", None
    if kind in ("missing", "too_short", "too_long") and isinstance(value, list):
        return f"has too {'many' if kind == 'too_long' else 'few'} items", None
    if kind == "missing":
        return "a required key is missing", None
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        return f"must be {words} {context[bound]:g}, not {value}", Mend()
    wanted = list(dict.fromkeys(KINDS[d["type"]] for d in details if d["type"] in KINDS))
    if wanted:
        hint = f"; write [{value}]" if wanted == ["a list"] and isinstance(value, str) else ""
        return f"must be {' or '.join(wanted)}, not {_described(value, 'text' in wanted)}{hint}", None
    message = details[0]["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:], None


def _unknown(what: str, word: Any, known: list[str]) -> tuple[str, str | None]:
    """`unknown key 'x' (did you mean 'y'?)`, and y."""
    hint = did_you_mean(str(word), known)
    if not hint:
        return f"unknown {what} '{word}'; there are {', '.join(known)}", None
    return f"unknown {what} '{word}'{hint}", hint.split("'")[1]


def _described(value: Any, text_wanted: bool) -> str:
    match value:
        case None:
            return "empty"
        case bool() | int() | float():
            raw = str(value).lower() if isinstance(value, bool) else str(value)
            return f"{raw}; write it in quotes: '{raw}'" if text_wanted else raw
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return f"'{value}'"


def _known_keys(model: Any, data: Any, key: Key) -> list[str]:
    """The keys that may stand in the mapping at `key`."""
    annotation = _member(model, data)
    for part in key:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = _by_key(annotation)[str(part)].annotation
        else:
            annotation = get_args(annotation)[-1]  # the values of a dict, the items of a list
        data = data[part]
        annotation = _member(annotation, data)
    return list(_by_key(annotation))


def _by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that stand in the YAML (`as` is a word of Python's own)."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _member(annotation: Any, data: Any) -> Any:
    """The member of a union that `data` is meant to be: for sources by `type`, else the model."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    members = [m for m in get_args(annotation) if m is not type(None)]
    if get_origin(annotation) in (dict, list) or not members:
        return annotation
    if len(members) == 1:
        return _member(members[0], data)
    for member in members:
        tag = member.model_fields.get("type") if hasattr(member, "model_fields") else None
        if tag is not None and data.get("type") in get_args(tag.annotation):
            return member
    return members[0]


def _apply(work: Document, key: Key, mend: Mend) -> None:
    parent, last = work.get(key[:-1]), key[-1]
    if mend.value is not None:
        parent[last] = mend.value
        return
    value = parent.pop(last)
    if mend.name is not None and mend.name not in parent:
        new = (*key[:-1], mend.name)
        parent[mend.name] = value
        work.places |= {(*new, *k[len(key) :]): p for k, p in work.places.items() if k[: len(key)] == key}

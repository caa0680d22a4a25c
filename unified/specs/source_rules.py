"""Rules of where rows come from: splits, joins, conditions, pairs that do not match."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter

from unified.errors import did_you_mean
from unified.specs.answer_rules import Found
from unified.specs.document import Key
from unified.specs.schema import TaskSpec
from unified.specs.source_schema import CsvSource, HfSource, Join, Source, SourceBase, WebdatasetSource

SPLIT_WORDS = {"val": "validation", "valid": "validation", "dev": "validation", "eval": "validation"}
ANY_SPLIT = "*"
ALL_ROWS = "*"
"""A join's `on` that every row of the other source fulfils."""


def check_source(spec: TaskSpec) -> Found:
    if spec.homepage is not None and not spec.homepage.startswith(("http://", "https://")):
        yield ("homepage",), f"'{spec.homepage}' is no address; it starts with http:// or https://"
    if spec.source is None:
        if "source" in spec.model_fields_set:
            yield ("source",), "is empty; leave the key out of a task that is there to be prompted only"
        return
    splits = list(spec.source.splits)
    if ANY_SPLIT in splits:
        yield ("source", "splits", ANY_SPLIT), "is for the sources in a join; here each split has its name"
    for name in splits:
        near = did_you_mean(name, ["train", "validation"]).split("'")[1:2]
        meant = SPLIT_WORDS.get(name) or (near[0] if near and not name.startswith(near[0]) else None)
        if meant and meant != name:
            yield ("source", "splits", name), f"unknown split '{name}' (did you mean '{meant}'?)"
    yield from _check(spec.source, ("source",), splits)


def _check(source: Source, at: Key, outer: list[str]) -> Found:
    """One source; `outer` are the splits that are asked of it."""
    if not source.splits:
        yield (*at, "splits"), "needs at least one split, e.g. `train: rows.jsonl`"
    records = getattr(source, "records", None)
    if isinstance(records, dict):
        yield from _known_splits(records, source, (*at, "records"))
        for split in source.splits:
            if split not in records:
                yield (*at, "records"), f"nothing for split '{split}'"
    if isinstance(source, CsvSource):
        yield from _check_csv(source, at)
    if source.number is not None and source.number == source.index:
        yield (*at, "index"), f"'{source.index}' is the name of `number` too"
    for path, values in source.where.items():
        key = (*at, "where", path)
        if "[*]" in path:
            yield key, "asks whole rows, before [*] takes them apart; use [] for all elements"
        if isinstance(values, dict):
            yield from _known_splits(values, source, key, outer)
        for listed in values.values() if isinstance(values, dict) else [values]:
            if listed == []:
                yield key, "an empty list of values would leave no row"
    for path, template in source.parse.items():
        try:
            parts = [part for _, part, mark, _ in Formatter().parse(template) if part is not None or mark]
        except ValueError:
            parts = []
        if not parts or not all(part and part.isidentifier() for part in parts):
            message = f"'{template}' is not text with names in braces, as in {{video}}_{{clip}}"
            yield (*at, "parse", path), message
    names: list[str] = []
    for i, join in enumerate(source.join):
        key = (*at, "join", i)
        yield from _check_join(join, key, outer)
        if join.name is not None and join.name in names:
            yield (*key, "as"), f"'{join.name}' stands here twice"
        names += [join.name] if join.name is not None else []
    if _is_stream(source) and (source.join or source.files or source.parse or source.mismatch is not None):
        what = next((k for k in ("join", "files", "parse") if getattr(source, k)), "mismatch")
        yield (*at, what), f"a stream ({source.type}) has no random access, which this needs"
    yield from _check_mismatch(source, at)


def _known_splits(said: Iterable[str], source: SourceBase, at: Key, outer: Iterable[str] = ()) -> Found:
    known = list(dict.fromkeys([*outer, *source.splits]))  # type: ignore[attr-defined]
    for split in said:
        if split not in known:
            hint = did_you_mean(split, known) or f"; there are {', '.join(known)}"
            yield (*at, split), f"'{split}' is not a split{hint}"


def _check_csv(source: CsvSource, at: Key) -> Found:
    if len(source.delimiter) != 1:
        yield (*at, "delimiter"), f'must be one character, not {source.delimiter!r}; a tab is "\\t"'
    if source.columns is not None:
        twice = sorted({name for name in source.columns if source.columns.count(name) > 1})
        if not source.columns:
            yield (*at, "columns"), "needs a name for each column; leave the key out if the file has a header"
        for name in twice:
            yield (*at, "columns"), f"'{name}' stands here twice"


def _check_join(join: Join, at: Key, outer: list[str]) -> Found:
    if not join.on:
        yield (*at, "on"), "needs a key that both rows have, or {path in the row: key of the other}"
    for left in [join.on] if isinstance(join.on, str) else join.on:
        if "[*]" in left:
            yield (*at, "on"), f"'{left}': rows are joined before [*] takes them apart; use [] instead"
    if join.on == ALL_ROWS and not join.many:
        yield (*at, "on"), f"'{ALL_ROWS}' means all rows of the other source; add `many: true`"
    if join.many and join.name is None:
        yield (*at, "many"), "a list of rows needs a name: add `as`"
    if _is_stream(join.source):
        yield (*at, "source", "type"), f"a stream ({join.source.type}) cannot be looked up in"
    there = join.source.splits
    absent = [split for split in outer if split not in there and ANY_SPLIT not in there]
    if there and absent and not join.optional and outer != [ANY_SPLIT]:
        message = f"no split '{absent[0]}', which the outer source has; add it, or `\"*\"` for all"
        yield (*at, "source", "splits"), f"{message} (with `optional: true` its rows have no match)"
    yield from _check(join.source, (*at, "source"), [split for split in outer if split not in absent])


def _check_mismatch(source: SourceBase, at: Key) -> Found:
    if source.mismatch is None:
        return
    key = (*at, "mismatch")
    if len(at) > 1:
        yield key, "belongs to the outer source, since it asks what is together in a row"
    if not source.mismatch.keys:
        yield (*key, "keys"), "needs the keys that come from another row, e.g. [caption]"
    for name in source.mismatch.keys:
        if any(mark in name for mark in ".[{"):
            yield (*key, "keys"), f"'{name}' is a path; whole keys of the row are exchanged"
    if source.mismatch.name in source.mismatch.keys:
        yield (*key, "as"), f"'{source.mismatch.name}' is one of `keys`"


def _is_stream(source: SourceBase) -> bool:
    return isinstance(source, WebdatasetSource) or (isinstance(source, HfSource) and source.streaming)

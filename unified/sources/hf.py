"""Data sets of the Hugging Face hub, saved data sets, and folders and files that `datasets` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified.errors import UserError
from unified.sources.arrow import ArrowRows, named_columns, quiet, without_decoding
from unified.sources.base import Row, RowSource, RowStream
from unified.sources.location import MissingData, Place, hub_copy
from unified.specs.source_schema import HfSource

if TYPE_CHECKING:
    from datasets import IterableDataset

    from unified.specs.load import LoadedTask

BUILDERS = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json",
    ".arrow": "arrow", ".txt": "text",
}  # fmt: skip
"""Reader of a local file, by suffix."""
READERS = ("csv", "json", "parquet", "arrow", "text", "imagefolder")
"""Names that mean a reader, not a data set of the hub."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def local_copy(place: Place, spec: HfSource) -> Path:
    """The file or folder on this machine that `path` names, or the copy of a hub id; there or not."""
    local = place.path(spec.path, "path")
    return local if local.exists() or _is_path(spec.path) else Path(hub_copy(spec.path))


def only_on_hub(task: LoadedTask) -> str | None:
    """That a task's rows would have to come from the hub, in words; None where they are on this machine."""
    place = Place.of(task)
    if not isinstance(place.spec, HfSource) or local_copy(place, place.spec).exists():
        return None
    return f"no copy of the hub's {place.spec.path} at {hub_copy(place.spec.path)}"


def open_hf(place: Place, spec: HfSource, split: str) -> RowSource | RowStream:
    """The rows of `spec.splits[split]`, which is a split expression of `datasets`."""
    expression = spec.splits[split]
    root = place.root
    local = local_copy(place, spec)
    if not local.exists() and _is_path(spec.path):
        raise place.missing("path", local, "file")
    if local.is_dir() and ((local / "dataset_dict.json").is_file() or (local / "state.json").is_file()):
        return _saved(place, spec, local, expression)

    arguments: dict[str, Any] = {"name": spec.name, "revision": spec.revision}
    if local.is_file():
        if local.suffix not in BUILDERS:
            raise UserError(
                f"{place.at('path')}: cannot tell how to read {local} (known: {', '.join(BUILDERS)})"
            )
        path, files = BUILDERS[local.suffix], {expression.partition("[")[0]: str(local)}
        if local.suffix == ".tsv":
            arguments["sep"] = "\t"
        arguments["data_files"] = files
    elif local.is_dir():
        path, arguments["data_files"] = str(local), spec.data_files
        if spec.name is not None and (local / spec.name).is_dir() and not _describes(local):
            # The folders of a copy without its card still say which configuration and split is which.
            arguments["name"] = None
            arguments |= _in_folders(local, spec.name, expression.partition("[")[0])
    else:
        path, arguments["data_files"] = spec.path, _data_files(place, spec)
    hub = not local.exists() and path not in READERS
    table = _load(place, spec, path, expression, arguments, hub=hub)
    if spec.streaming:
        return HfStream(table, root, f"{spec.path}:{expression}")
    return ArrowRows(table, root, f"{spec.path}:{expression}")


class HfStream(RowStream):
    """Rows of a streamed data set, in the order of its files."""

    def __init__(self, table: IterableDataset, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.named = None
        if table.features is not None:  # else they are known only when rows come
            self.named = named_columns(table.features)
            table = without_decoding(table)
        self.table = table

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        for index, row in enumerate(self.table):
            yield f"{self.name}:row {index + 1}", row if self.named is None else self.named(row)


def _in_folders(copy: Path, name: str, split: str) -> dict[str, Any]:
    """Where the files of a configuration are: `<name>/<split>-*.parquet`, `<name>/<split>/*.parquet`, or
    what `datasets` makes of the folder."""
    for pattern in (f"{name}/{split}-*.parquet", f"{name}/{split}/*.parquet"):
        if any(copy.glob(pattern)):
            return {"data_files": {split: pattern}}
    return {"data_dir": name}


def _describes(folder: Path) -> bool:
    """Whether the card of a copy names its configurations."""
    card = folder / "README.md"
    return card.is_file() and "configs:" in card.read_text(encoding="utf-8", errors="replace")


def _is_path(text: str) -> bool:
    """Whether `text` can only mean something on this machine."""
    return _HUB_ID.fullmatch(text) is None or text.startswith(".") or Path(text).suffix in BUILDERS


def _data_files(place: Place, spec: HfSource) -> Any:
    """Files of a reader (`path: json`) are local and start at the root; those of a hub id are the hub's."""
    if spec.data_files is None or spec.path not in READERS:
        return spec.data_files
    found: dict[str, list[str]] = {}
    for name, files in spec.data_files.items():
        found[name] = []
        for file in [files] if isinstance(files, str) else files:
            local = [file] if "://" in file else place.files(file, f"data_files.{name}")
            found[name] += map(str, local)
    return found


def _load(
    place: Place, spec: HfSource, path: str, expression: str, arguments: dict[str, Any], *, hub: bool
) -> Any:
    from datasets import load_dataset

    where = place.at()
    if spec.streaming and "[" in expression:
        raise UserError(f"{where}.splits: '{expression}' cannot be sliced in a stream; name a whole split")
    try:
        with quiet():
            return load_dataset(path, split=expression, streaming=spec.streaming, **arguments)
    except Exception as error:  # connection, login, parser and script errors of four libraries
        reason = " ".join(str(error).split()) or type(error).__name__
        if "scripts are no longer supported" in reason or "trust_remote_code" in reason:
            raise UserError(
                f"{where}.path: '{spec.path}' is read by a loading script, which `datasets` no longer runs. "
                f"Use its parquet files (on the hub: branch `refs/convert/parquet`, so `revision: "
                f"refs/convert/parquet`), or a `python` source that yields the rows"
            ) from error
        mend = "correct `splits` or the files"
        if hub:
            mend = "check the id, the split and the connection; sets behind a login need `hf auth login`"
            mend += f"; or put a copy in {hub_copy(spec.path)}"
        kind = MissingData if hub else UserError
        raise kind(
            f"{where}: '{spec.path}' ({expression}) cannot be loaded: {reason.rstrip('.')}; {mend}"
        ) from error


def _saved(place: Place, spec: HfSource, folder: Path, expression: str) -> RowSource:
    """A data set written by `save_to_disk`, alone or with its splits."""
    from datasets import Dataset, DatasetDict, ReadInstruction, load_from_disk

    where = place.at()
    if spec.streaming:
        raise UserError(f"{where}.streaming: {folder} is a saved data set and memory-mapped; drop it")
    try:
        saved = load_from_disk(str(folder))
        name = expression.partition("[")[0]
        splits = saved if isinstance(saved, DatasetDict) else {name: saved}
        read = ReadInstruction.from_spec(expression).to_absolute({n: len(part) for n, part in splits.items()})
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: {folder} ({expression}) cannot be loaded: {reason}") from error
    parts: list[Dataset] = [splits[part.splitname].select(range(part.from_, part.to)) for part in read]
    if len(parts) > 1:
        raise UserError(f"{where}.splits: '{expression}' adds splits; name one for each of ours")
    return ArrowRows(parts[0], place.root, f"{spec.path}:{expression}")

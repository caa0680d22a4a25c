"""One door to all sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unified.errors import UserError, did_you_mean
from unified.sources.base import RowSource, RowStream
from unified.sources.explode import Exploded, ExplodedStream
from unified.sources.fields import compile_fields, input_paths
from unified.sources.paths import exploded_part
from unified.specs.schema import (
    CocoSource,
    CsvSource,
    FilesSource,
    HfSource,
    ImageFolderSource,
    JsonSource,
    ParquetSource,
    PythonSource,
    ToyboxSource,
    WebdatasetSource,
)

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask


def open_source(task: LoadedTask, split: str) -> RowSource | RowStream:
    """The rows of one split, `[*]` paths taken apart.

    Raises UserError, naming the spec file, for a split that the spec lacks, for a file or folder
    that is not there and for one that cannot be read at all. A single bad row raises BadRow when it
    is read.
    """
    if task.spec.source is None:
        raise UserError(
            f"{task.path}: '{task.name}' has no `source`: it can be prompted, but not trained or evaluated on"
        )
    splits = task.spec.source.splits
    if split not in splits:
        raise UserError(
            f"{task.path}: source.splits: no split '{split}'{did_you_mean(split, list(splits))}; "
            f"'{task.name}' has: {', '.join(splits)}"
        )
    try:
        paths = map(exploded_part, input_paths(task.spec.fields))
        parts = list(dict.fromkeys(part for part in paths if part is not None))
    except ValueError as error:
        raise UserError(f"{task.path}: fields: {error}") from error
    compile_fields(task)  # mistakes in the fields show here, not at the first row
    source = _open(task, split)
    if not parts:
        return source
    if isinstance(source, RowStream):
        return ExplodedStream(source, parts)
    return Exploded(source, parts)


def _open(task: LoadedTask, split: str) -> RowSource | RowStream:
    """The source as it is. Imports stand here so that a task needs only the libraries it uses."""
    spec = task.spec.source
    if isinstance(spec, ToyboxSource):
        from unified.sources.toybox.source import ToyboxRows

        return ToyboxRows(spec, split)
    if isinstance(spec, JsonSource):
        from unified.sources.jsonrows import open_json

        return open_json(task, spec, split)
    if isinstance(spec, CsvSource):
        from unified.sources.tables import open_csv

        return open_csv(task, spec, split)
    if isinstance(spec, ParquetSource):
        from unified.sources.tables import open_parquet

        return open_parquet(task, spec, split)
    if isinstance(spec, HfSource):
        from unified.sources.hf import open_hf

        return open_hf(task, spec, split)
    if isinstance(spec, CocoSource):
        from unified.sources.coco import CocoRows

        return CocoRows(task, spec, split)
    if isinstance(spec, ImageFolderSource):
        from unified.sources.imagefolder import ImageFolderRows

        return ImageFolderRows(task, spec, split)
    if isinstance(spec, FilesSource):
        from unified.sources.files import FileRows

        return FileRows(task, spec, split)
    if isinstance(spec, WebdatasetSource):
        from unified.sources.webdataset import WebdatasetRows

        return WebdatasetRows(task, spec, split)
    assert isinstance(spec, PythonSource)
    from unified.sources.python import open_python

    return open_python(task, spec, split)

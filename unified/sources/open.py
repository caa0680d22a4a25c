"""One door to all sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unified.errors import UserError, did_you_mean
from unified.sources.base import RowSource, RowStream
from unified.sources.explode import Exploded, ExplodedStream
from unified.sources.fields import compile_fields, input_paths
from unified.sources.join import Joined, WithAll
from unified.sources.location import Place
from unified.sources.mismatch import Mismatched
from unified.sources.parse import Parsed
from unified.sources.paths import exploded_part
from unified.sources.select import Numbered, Selected, SelectedStream, conditions
from unified.sources.sidecar import WithFiles
from unified.specs.source_rules import ALL_ROWS, ANY_SPLIT
from unified.specs.source_schema import (
    ActivityNetEntitiesSource,
    CocoSource,
    CsvSource,
    EntitiesSource,
    FilesSource,
    HfSource,
    ImageFolderSource,
    JsonSource,
    MatSource,
    ParquetSource,
    PickleSource,
    PythonSource,
    SwigSource,
    ToyboxSource,
    VisdialSource,
    VistSource,
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
    place = Place.of(task)
    if split not in place.spec.splits:
        raise UserError(
            f"{place.at('splits')}: no split '{split}'{did_you_mean(split, list(place.spec.splits))}; "
            f"'{task.name}' has: {', '.join(place.spec.splits)}"
        )
    try:
        paths = map(exploded_part, input_paths(task.spec.fields))
        parts = list(dict.fromkeys(part for part in paths if part is not None))
    except ValueError as error:
        raise UserError(f"{task.path}: fields: {error}") from error
    compile_fields(task)  # mistakes in the fields show here, not at the first row
    source = _rows(place, split)
    if parts:
        source = ExplodedStream(source, parts) if isinstance(source, RowStream) else Exploded(source, parts)
    if (mismatch := place.spec.mismatch) is not None:
        source = Mismatched(_random(source, place, "mismatch"), mismatch, parts, place.at("mismatch"))
    return source


def _rows(place: Place, split: str) -> RowSource | RowStream:
    """The rows of a source with all that its common keys add to them. Nested sources have a split `*`."""
    spec = place.spec
    rows = _read(place, split if split in spec.splits else ANY_SPLIT)
    wanted = conditions(spec, split)
    if isinstance(rows, RowStream):
        for key in ("join", "files", "parse"):
            if getattr(spec, key):
                _random(rows, place, key)
        return SelectedStream(rows, spec, wanted) if wanted or spec.number or spec.index else rows
    if spec.number or spec.index:
        rows = Numbered(rows, spec)
    if spec.parse:
        rows = Parsed(rows, spec.parse)
    if spec.files:
        rows = WithFiles(rows, spec.files, place.root)
    for i, join in enumerate(spec.join):
        inner = place.inner(join.source, f"join[{i}].source")
        if split not in join.source.splits and ANY_SPLIT not in join.source.splits:
            if join.optional:
                continue
            raise UserError(
                f"{inner.at('splits')}: no split '{split}', but the outer source has it; add it, or "
                f'`"*"` for every split'
            )
        right = _random(_rows(inner, split), inner, "type")
        everything = join.on == ALL_ROWS
        rows = WithAll(rows, right, join) if everything else Joined(rows, right, join, place.at(f"join[{i}]"))
    return Selected(rows, wanted, place.at("where")) if wanted else rows


def _random(rows: RowSource | RowStream, place: Place, key: str) -> RowSource:
    if isinstance(rows, RowStream):
        raise UserError(f"{place.at(key)}: a stream has no random access, which is needed here")
    return rows


def _read(place: Place, split: str) -> RowSource | RowStream:
    """What the files say. Imports stand here so that a task needs only the libraries it uses."""
    spec = place.spec
    if isinstance(spec, ToyboxSource):
        from unified.sources.toybox.source import ToyboxRows

        return ToyboxRows(spec, split)
    if isinstance(spec, JsonSource):
        from unified.sources.jsonrows import open_json

        return open_json(place, spec, split)
    if isinstance(spec, PickleSource):
        from unified.sources.picklerows import open_pickle

        return open_pickle(place, spec, split)
    if isinstance(spec, MatSource):
        from unified.sources.mat import open_mat

        return open_mat(place, spec, split)
    if isinstance(spec, EntitiesSource):
        from unified.sources.entities import EntityRows

        return EntityRows(place, spec, split)
    if isinstance(spec, VisdialSource):
        from unified.sources.visdial import VisdialRows

        return VisdialRows(place, spec, split)
    if isinstance(spec, SwigSource):
        from unified.sources.swig import SwigRows

        return SwigRows(place, spec, split)
    if isinstance(spec, ActivityNetEntitiesSource):
        from unified.sources.anet import ActivityNetEntitiesRows

        return ActivityNetEntitiesRows(place, spec, split)
    if isinstance(spec, VistSource):
        from unified.sources.vist import VistRows

        return VistRows(place, spec, split)
    if isinstance(spec, CsvSource):
        from unified.sources.tables import open_csv

        return open_csv(place, spec, split)
    if isinstance(spec, ParquetSource):
        from unified.sources.tables import open_parquet

        return open_parquet(place, spec, split)
    if isinstance(spec, HfSource):
        from unified.sources.hf import open_hf

        return open_hf(place, spec, split)
    if isinstance(spec, CocoSource):
        from unified.sources.coco import CocoRows

        return CocoRows(place, spec, split)
    if isinstance(spec, ImageFolderSource):
        from unified.sources.imagefolder import ImageFolderRows

        return ImageFolderRows(place, spec, split)
    if isinstance(spec, FilesSource):
        from unified.sources.files import FileRows

        return FileRows(place, spec, split)
    if isinstance(spec, WebdatasetSource):
        from unified.sources.webdataset import WebdatasetRows

        return WebdatasetRows(place, spec, split)
    assert isinstance(spec, PythonSource)
    from unified.sources.python import open_python

    return open_python(place, spec, split)

"""From a row to typed values, as the `fields` of a task spec say.

The fields of a task are compiled once: paths parsed, names read, formats checked. A sample then
costs a few microseconds a field on top of decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from unified.errors import UserError, did_you_mean
from unified.sources.base import Row, RowSource, RowStream
from unified.sources.dense import parse_axes, to_depth, to_frame, to_mask, to_normals, to_segmentation
from unified.sources.images import read_rgb
from unified.sources.location import AbsentFile, source_root
from unified.sources.paths import Candidates, Getter, Missing, compile_path
from unified.sources.spatial import NORMALIZED, to_boxes, to_grounded_text, to_keypoints, to_points
from unified.sources.strings import parse_list, to_number, to_text, to_texts
from unified.sources.tokens import to_tagged_text
from unified.sources.video import read_frame
from unified.specs.example import BadRow
from unified.specs.schema import FieldSpec, FieldType
from unified.specs.vocabulary import DENSE, FORMATS, LOCATIONS
from unified.values.types import DENSE_TYPES, TYPES, Image, Label, Number, Size, Text, Texts, Value

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask


@dataclass
class _Context:
    """What the fields of one row know of each other."""

    root: Path
    sizes: dict[str, Size] = field(default_factory=dict)
    """Frames read so far, by field."""
    labels: tuple[str, ...] | None = None
    """Labels of the field being read."""


Convert: TypeAlias = Callable[[Any, _Context], Value]


@dataclass(frozen=True)
class _Field:
    name: str
    kind: type
    get: Getter
    labels: Callable[[Row], tuple[str, ...]] | None
    convert: Convert
    default: Any
    dense: bool
    names: tuple[str, ...] | None
    """Joints or classes that a value must have."""
    frame: str | None
    """The field whose pixels a dense value shows, unless it is a picture of its own."""


def read_fields(
    task: LoadedTask,
    row: Row,
    source: RowSource | RowStream | None = None,
    *,
    optional: Collection[str] = (),
) -> dict[str, Value]:
    """The values of all fields, in the frame of the source. Those that are `optional` are left out where the
    row has nothing for them, or names a file that is not there.

    Relative paths of images start at `source.root`; without a source (a row written in a spec) at
    the root that the spec states. Raises BadRow with the field and the reason, UserError where the
    spec itself cannot be followed.
    """
    fields = compile_fields(task)
    context = _Context(source.root if source is not None else source_root(task))
    values: dict[str, Value] = {}
    for item in fields:
        try:
            values[item.name] = _read(item, row, context)
        except (BadRow, Missing) as problem:
            if isinstance(problem, Missing | AbsentFile) and item.name in optional:
                continue
            raise BadRow(f"field '{item.name}': {problem}") from problem
    return values


def _read(item: _Field, row: Row, context: _Context) -> Value:
    try:
        raw = item.get(row)
        if raw is None:
            raise Missing("null, and the field has no default")
    except Missing:
        if item.default is None:
            raise
        raw = item.default
    if isinstance(raw, Candidates):
        raw = raw.existing(context.root)
    if isinstance(raw, item.kind):
        value: Value = raw  # type: ignore[assignment]
        if item.names is not None and value.names != item.names:  # type: ignore[union-attr]
            raise BadRow(f"has the names {', '.join(value.names)}, "  # type: ignore[union-attr]
                         f"but `names` says {', '.join(item.names)}")  # fmt: skip
    else:
        if item.labels is not None:
            context.labels = item.labels(row)
        value = item.convert(raw, context)
        context.labels = None
    if item.dense:
        if item.frame is not None and item.frame in context.sizes:
            value = to_frame(value, context.sizes[item.frame])  # type: ignore[arg-type]
        context.sizes[item.name] = value.size  # type: ignore[union-attr]
    return value


# ------------------------------------------------------------------------------- compilation

_CACHE: dict[int, tuple[LoadedTask, tuple[_Field, ...]]] = {}
"""By id; the task is kept beside its fields, so that an id cannot come to mean another task."""


def compile_fields(task: LoadedTask) -> tuple[_Field, ...]:
    """The fields of a task, ready to read. Raises UserError where the spec cannot be followed."""
    cached = _CACHE.get(id(task))
    if cached is not None:
        return cached[1]
    names = list(task.spec.fields)
    # Frames first: other fields need their sizes.
    frames = [_frame(task, name) for name in names]
    names.sort(key=lambda name: (task.spec.field_type(name) != "image", name not in frames))
    fields = tuple([_compile_field(task, name) for name in names])
    _CACHE[id(task)] = (task, fields)
    return fields


def _frame(task: LoadedTask, name: str) -> str | None:
    """The field whose pixels a spatial value is in: stated, or the first input image, or the only image."""
    stated = task.spec.fields[name].image
    if stated is not None:
        if stated not in task.spec.fields:
            hint = did_you_mean(stated, list(task.spec.fields))
            raise UserError(f"{task.path}: fields.{name}.image: no field '{stated}'{hint}")
        return stated
    if task.spec.input.images:
        return task.spec.input.images[0]
    images = [other for other in task.spec.fields if task.spec.field_type(other) == "image"]
    return images[0] if len(images) == 1 else None


def _compile_field(task: LoadedTask, name: str) -> _Field:
    spec = task.spec.fields[name]
    kind = task.spec.field_type(name)
    where = f"{task.path}: fields.{name}"
    try:
        get = compile_path(spec.path if spec.path is not None else name, files=kind in DENSE)
        get_labels = compile_path(spec.labels) if spec.labels is not None else None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    class_names = _names(spec, kind)

    labels = None
    if get_labels is not None:

        def labels(row: Row) -> tuple[str, ...]:
            try:
                return to_texts(get_labels(row), class_names, spec.map)
            except (BadRow, Missing) as problem:
                raise BadRow(f"labels: {problem}") from problem

    frame = _frame(task, name)
    return _Field(
        name=name,
        kind=TYPES[kind],
        get=get,
        labels=labels,
        convert=_converter(kind, spec, class_names, frame, where),
        default=spec.default,
        dense=kind in DENSE_TYPES,
        names=tuple(class_names) if class_names and kind in ("keypoints", "segmentation") else None,
        frame=frame if kind in DENSE_TYPES and kind != "image" and frame != name else None,
    )


def _converter(
    kind: FieldType, spec: FieldSpec, names: list[str] | None, frame: str | None, where: str
) -> Convert:
    """The function that makes a `kind` of a raw value."""
    mapping, scale, form = spec.map, spec.unit_scale, spec.format
    if form is not None and form not in FORMATS.get(kind, ()):
        legal = FORMATS.get(kind, ())
        known = f"; there are: {', '.join(legal)}" if legal else f"; `{kind}` has none"
        raise UserError(f"{where}.format: unknown format '{form}'{did_you_mean(form, legal)}{known}")
    if kind == "text" and form == "tokens":
        return lambda raw, c: Text(to_tagged_text(raw, c.labels))
    if kind == "texts" and form == "tokens":
        return lambda raw, c: Texts(tuple([to_tagged_text(tokens, c.labels) for tokens in raw]))
    if kind == "texts" and form == "list":
        return lambda raw, _: Texts(to_texts(parse_list(raw), names, mapping))
    if kind == "text":
        return lambda raw, _: Text(to_text(raw, names, mapping))
    if kind == "label":
        return lambda raw, _: Label(to_text(raw, names, mapping))
    if kind == "texts":
        return lambda raw, _: Texts(to_texts(raw, names, mapping))
    if kind == "number":
        if mapping is not None:
            return lambda raw, _: Number(to_number(to_text(raw, names, mapping), scale))
        return lambda raw, _: Number(to_number(raw, scale))
    if kind == "image" and (at := spec.at) is not None:
        return lambda raw, context: Image(read_frame(raw, context.root, at))
    if kind == "image":
        return lambda raw, context: Image(read_rgb(raw, context.root))

    if kind in LOCATIONS:
        normalized = form is not None and form.startswith(NORMALIZED)
        order = (form or "xyxy").removeprefix(NORMALIZED)

        def size(context: _Context) -> Size | None:
            if not normalized:
                return None
            if frame is None or frame not in context.sizes:
                raise UserError(f"{where}.format: normalized coordinates need the image they belong to; "
                                f"name it with `image:`")  # fmt: skip
            return context.sizes[frame]

        if kind == "boxes":
            return lambda raw, c: to_boxes(raw, order, size=size(c), scale=scale, labels=c.labels)
        if kind == "points":
            return lambda raw, c: to_points(raw, size=size(c), scale=scale, labels=c.labels)
        if kind == "grounded_text":
            return lambda raw, c: to_grounded_text(raw, order, size=size(c), scale=scale)
        if names is None:

            def unnamed(raw: Any, context: _Context) -> Value:
                raise UserError(f"{where}: keypoints need `names`, one a joint")

            return unnamed
        return lambda raw, c: to_keypoints(raw, names, size=size(c), scale=scale)

    if kind == "mask":
        return lambda raw, c: to_mask(raw, form, c.root, c.sizes.get(frame or ""))
    if kind == "segmentation":
        if names is None:

            def unclassed(raw: Any, context: _Context) -> Value:
                raise UserError(f"{where}: a segmentation needs `names`, one a class from 1 on")

            return unclassed
        return lambda raw, c: to_segmentation(raw, names, c.root, c.sizes.get(frame or ""), c.labels)
    if kind == "depth":
        return lambda raw, c: to_depth(raw, scale, c.root)
    try:
        axes = parse_axes(spec.axes) if spec.axes is not None else None
    except ValueError as error:
        raise UserError(f"{where}.axes: {error}") from error
    return lambda raw, c: to_normals(raw, form, axes, c.root)


def _names(spec: FieldSpec, kind: FieldType) -> list[str] | None:
    """Class or joint names. Lists of classes often begin with the background, which a segmentation
    has as number 0 without a name."""
    names = spec.names
    assert not isinstance(names, str), "loading a task reads files of names"
    if names and kind == "segmentation" and names[0].strip("_").lower() == "background":
        return names[1:]
    return names


def input_paths(spec_fields: Mapping[str, FieldSpec]) -> list[str]:
    """Every path that the fields of a task read, labels included."""
    paths = [spec.path if spec.path is not None else name for name, spec in spec_fields.items()]
    return paths + [spec.labels for spec in spec_fields.values() if spec.labels is not None]

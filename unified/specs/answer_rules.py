"""Rules of what hangs on the kind of answer: options, metrics, the file for a server."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator

from unified.errors import did_you_mean
from unified.specs.document import Key
from unified.specs.schema import FieldType, TaskSpec
from unified.specs.vocabulary import METRICS, RANKING

Found = Iterator[tuple[Key, str]]
Rule = Callable[[TaskSpec], Found]


def one_of(kinds: tuple[str, ...]) -> str:
    return kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def not_a_field(spec: TaskSpec, name: str) -> str:
    known = list(spec.fields)
    return f"'{name}' is not a field{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"


def check_options(spec: TaskSpec) -> Found:
    options = spec.options
    if options is None:
        return
    given = [key for key in ("choices", "field", "file", "pool") if getattr(options, key) is not None]
    if len(given) != 1:
        yield ("options",), "needs exactly one of choices, field, file and pool"
    if spec.modality not in ("text", "label"):
        yield ("options",), f"means nothing for answers of type {spec.modality}, only for text or label"
    if options.choices is not None and len(set(options.choices)) < 2:
        yield ("options", "choices"), "needs at least two different choices"
    elif options.choices is not None:
        for choice in sorted({c for c in options.choices if options.choices.count(c) > 1}):
            yield ("options", "choices"), f"'{choice}' stands here twice"
    for key, name in (("field", options.field), ("pool", options.pool)):
        if name is not None and name not in spec.fields:
            yield ("options", key), not_a_field(spec, name)
        elif name is not None and spec.field_type(name) != "texts":
            yield ("options", key), f"'{name}' is of type {spec.field_type(name)}, not texts"


# -------------------------------------------------------------------------------------- metrics


def check_metrics(spec: TaskSpec) -> Found:
    for i, metric in enumerate(spec.metrics):
        key: Key = ("metrics", i)
        if metric.name not in METRICS:
            fit = [name for name, kinds in METRICS.items() if spec.modality in kinds]
            hint = did_you_mean(metric.name, list(METRICS)) or f"; there are {', '.join(fit)}"
            yield key, f"unknown metric '{metric.name}'{hint}"
        elif spec.modality not in METRICS[metric.name]:
            scored = one_of(METRICS[metric.name])
            yield key, f"metric '{metric.name}' scores {scored}, but the answer is {spec.modality}"
        named: list[tuple[Key, str | None]] = [(("references",), metric.references), (("by",), metric.by)]
        named += [(("fields", argument), field) for argument, field in metric.fields.items()]
        if metric.jointly is not None:
            named.append((("jointly", "key"), metric.jointly.key))
            if i == 0:
                yield (*key, "jointly"), "the first metric is the headline, and must be the task's own"
            if metric.jointly.task == spec.task:
                yield (*key, "jointly", "task"), "is this task itself"
        for at, field in named:
            if field is not None and field not in spec.fields:
                yield (*key, *at), not_a_field(spec, field)
        if metric.label in [m.label for m in spec.metrics[:i]]:
            yield key, f"metric '{metric.label}' stands here twice"


def check_ranking(spec: TaskSpec) -> Found:
    """What orders the options, rather than answering with one of them."""
    ranked = spec.options is not None and spec.options.decode == "rank"
    if spec.options is not None and spec.options.pool is not None and not ranked:
        yield ("options", "decode"), "a pool is there to be ranked; write `decode: rank`"
    for i, metric in enumerate(spec.metrics):
        if metric.name in RANKING and not ranked:
            yield (
                ("metrics", i),
                f"metric '{metric.name}' judges a ranking; it needs `options` with `decode: rank`",
            )


# ----------------------------------------------------------------------------------- submission

SOURCES: dict[str, tuple[FieldType, ...]] = {
    "$answer": ("text", "label", "number", "grounded_text"), "$choice": ("text", "label"),
    "$scores": ("text", "label"), "$ranks": ("text", "label"), "$mask": ("mask",),
    "$score": ("text", "label", "number", "boxes", "keypoints"), "$box": ("boxes",), "$xyxy": ("boxes",),
    "$label": ("boxes",), "$keypoints": ("keypoints",),
}  # fmt: skip
"""What a row may tell of a prediction, and of which kinds."""
PICTURES: tuple[FieldType, ...] = ("mask", "segmentation", "image")


def check_submission(spec: TaskSpec) -> Found:
    submission = spec.submission
    if submission is None:
        return
    yield from _check_file(submission.file)
    key, form = ("submission",), submission.format
    if (submission.key is None) == (form in ("json_map", "png")):
        what = (
            "needs a `key`, the field that names each" if submission.key is None else "has no use for a `key`"
        )
        yield (*key, "key"), f"{form} {what}"
    elif submission.key is not None and submission.key not in spec.fields:
        yield (*key, "key"), not_a_field(spec, submission.key)
    if form == "png" and spec.modality not in PICTURES:
        yield (*key, "format"), f"png takes {one_of(PICTURES)}, but the answer is {spec.modality}"
    if bool(submission.row) == (form == "png"):
        yield (
            (*key, "row"),
            f"{form} {'has no rows' if submission.row else 'needs a `row`, column by column'}",
        )
    for column, source in submission.row.items():
        yield from _check_source(spec, column, source)
    for column in submission.codes:
        if column not in submission.row:
            hint = did_you_mean(column, list(submission.row)) or f"; there are {', '.join(submission.row)}"
            yield (*key, "codes", column), f"'{column}' is no column of the row{hint}"
    if submission.header and form != "csv":
        yield (*key, "header"), f"means nothing for {form}, only for csv"


def _check_file(name: str) -> Found:
    try:
        used = {part for _, part, _, _ in string.Formatter().parse(name) if part is not None}
    except ValueError as error:
        yield ("submission", "file"), f"'{name}' is no format string: {error}"
        return
    for part in sorted(used - {"split", "task"}):
        yield ("submission", "file"), f"'{{{part}}}' is unknown; there are {{split}} and {{task}}"
    if not name or name.startswith(("/", "~")) or ".." in name.split("/"):
        yield ("submission", "file"), f"'{name}' must be a name inside the folder that is given"


def _check_source(spec: TaskSpec, column: str, source: str) -> Found:
    key = ("submission", "row", column)
    if not source.startswith("$"):
        if source not in spec.fields:
            yield key, not_a_field(spec, source)
        return
    if source not in SOURCES:
        yield (
            key,
            f"unknown '{source}'{did_you_mean(source, list(SOURCES)) or '; there are ' + ', '.join(SOURCES)}",
        )
    elif spec.modality not in SOURCES[source]:
        yield key, f"'{source}' tells of {one_of(SOURCES[source])}, but the answer is {spec.modality}"
    elif source in ("$scores", "$ranks") and (spec.options is None or spec.options.decode != "rank"):
        yield key, f"'{source}' needs `options` with `decode: rank`"
    elif source == "$choice" and spec.options is None:
        yield key, "'$choice' needs `options`"


ANSWER_RULES: tuple[Rule, ...] = (check_options, check_metrics, check_ranking, check_submission)
"""Rules that ask what the answer is."""

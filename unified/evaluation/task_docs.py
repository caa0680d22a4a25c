"""docs/tasks.md: what the specs say of the shipped tasks, and what the metrics say of themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

from unified.evaluation.metrics import get_metric
from unified.evaluation.results import metric_of
from unified.specs.catalogue import Catalogue, gives, judged_by, takes
from unified.specs.load import LoadedTask
from unified.specs.source_schema import HfSource

LIBRARY, MIRROR = "library", "_hub"
HEAD = """\
# Tasks

Made from the task specs by `unified tasks docs > docs/tasks.md`; change the specs, not this page.

The tasks of the library read the files of their data sets as they are released. Each data set is a folder
below `$UNIFIED_DATA`; under "files" stands what goes there and where it comes from. A task whose name ends in
`_hub` reads a parquet mirror of the Hugging Face hub, or a copy of it in `$UNIFIED_DATA/hub/<id>`.

```
unified tasks list --tag library        # which have their data here
unified tasks show vqav2                # one spec, whole
unified tasks check --data vqav2        # reads a few rows of each split
unified eval RUN --tasks vqav2          # score a model
unified eval RUN --tasks tag:library    # on all whose data is here; the others are listed
unified eval RUN --tasks vqav2 --split test --submission results   # the file for the server
```

Scores stand beside those of a trivial predictor and of the true answers sent through the tokenizers and back.
`metric: part` is a figure of a part of the rows or of another rule; `metric(jointly=task)` is one over two
tasks, which must be evaluated in one call. Where options are ranked, by the model's log-probability of each,
ties share the mean of their ranks; options that are pooled over the rows are fewer, and the score is better,
with `--limit`. Rows whose answers are hidden are not scored, only written for the server.
"""


def task_docs(catalogue: Catalogue) -> str:
    """The page, in markdown."""
    families = catalogue.families(LIBRARY)
    rest = {
        family: [task for task in tasks if LIBRARY not in task.spec.tags]
        for family, tasks in catalogue.families().items()
    }
    parts = [HEAD]
    for family, tasks in families.items():
        parts += [f"## {family}\n", _table(tasks), *map(_section, _own(tasks))]
    parts.append("## Other shipped tasks\n")
    for family, tasks in rest.items():
        if tasks:
            parts += [f"### {family}\n", _table(tasks)]
    parts += ["## Metrics\n", _metrics(task for tasks in families.values() for task in tasks)]
    return "\n".join(parts)


def _own(tasks: Sequence[LoadedTask]) -> list[LoadedTask]:
    """The tasks without those that are mirrors of another."""
    names = {task.name for task in tasks}
    return [task for task in tasks if task.name.removesuffix(MIRROR) not in names - {task.name}]


def _table(tasks: Iterable[LoadedTask]) -> str:
    rows = [
        (f"`{t.name}`", _line(t.spec.description), f"{takes(t.spec)} -> {gives(t.spec)}", _splits(t),
         ", ".join(f"`{label}`" for label in judged_by(t.spec)))
        for t in tasks
    ]  # fmt: skip
    head = ("task", "what it asks", "in -> out", "splits", "metrics")
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, ("---",) * 5, *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _splits(task: LoadedTask) -> str:
    return ", ".join(task.spec.source.splits) if task.spec.source is not None else ""


def _section(task: LoadedTask) -> str:
    return f"### {task.name}\n\n" + "".join(f"- {item}\n" for item in _items(task))


def _items(task: LoadedTask) -> Iterator[str]:
    spec = task.spec
    yield _line(spec.description)
    yield f"prompt: {_code(spec.input.eval_prompt or spec.input.prompt[0].text)}"
    yield f"found at {spec.homepage}; licence: {spec.license}"
    yield f"cite {_line(spec.citation or '')}"
    source = spec.source
    if isinstance(source, HfSource):
        yield f"read from the hub's `{source.path}`"
    elif source is not None:
        files = "; ".join(f"`{path}` from {_line(origin)}" for path, origin in spec.download.items())
        yield f"files below `{source.root}`: {files}"
    if spec.submission is not None:
        yield f"submission: `{spec.submission.file}` ({spec.submission.format})"
    yield from map(_line, spec.notes)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _code(text: str) -> str:
    """Text as code, whatever marks it holds."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{' '.join(text.split())}{fence}"


def _metrics(tasks: Iterable[LoadedTask]) -> str:
    names = {metric_of(label).name for task in tasks for label in judged_by(task.spec)}
    lines = []
    for name in sorted(names):
        metric = get_metric(name)
        first = re.split(r"\n\s*\n", inspect.getdoc(metric.function) or "")[0]
        better = "" if metric.higher_is_better else "; less is better"
        unit = {"": "no unit"}.get(metric.unit, metric.unit)
        lines.append(f"- `{name}` ({unit}{better}): {_line(first)}\n")
    return "".join(lines)

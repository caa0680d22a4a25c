"""Evaluation: rows of a split, predictions, scores beside a trivial baseline and the tokenizers' ceiling."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified.errors import UserError, did_you_mean, file_error
from unified.evaluation.answers import answer_split
from unified.evaluation.joint import Scored, add_joint, check_joint, remember
from unified.evaluation.model_folder import check_images, find_model_folder, load_model_folder
from unified.evaluation.results import (
    PREDICTIONS,
    RESULTS,
    SAMPLES,
    Results,
    TaskResult,
    shown,
)
from unified.evaluation.submission import Submission, wants_scores, with_submission
from unified.evaluation.surroundings import command_line, surroundings
from unified.evaluation.task_result import Reading, reason, score_task
from unified.sources.hf import only_on_hub
from unified.sources.location import MissingData
from unified.specs.load import LoadedTask, list_tasks, load_task

if TYPE_CHECKING:
    from unified.model.modeling import UnifiedModel
    from unified.tokenization.processor import Processor

WHERE_FROM = "`unified tasks show NAME` says which files a task needs and where they are found"

Progress = Callable[[str, int, int], None]
"""Is told the task, the rows done and the rows there are."""
LeaveOut = Callable[[str, str], None]
"""Is told a task that cannot be evaluated here, and why."""


def evaluate(
    model: UnifiedModel,
    processor: Processor,
    tasks: Sequence[LoadedTask],
    *,
    split: str = "validation",
    limit: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    out: Path | None = None,
    submission: Path | None = None,
    on_progress: Progress | None = None,
    on_task: Callable[[str, TaskResult], None] | None = None,
    leave_out: LeaveOut | None = None,
    not_from_hub: Container[str] = (),
) -> Results:
    """Scores a model on tasks.

    At most `limit` rows of each task are read, spread evenly over the split. Tasks without that split are
    left out and listed in `about["without_split"]`. With `out`, a folder, results.json, predictions.jsonl and
    pictures of a few samples are written there. With `submission`, a folder, the tasks that state a
    `submission` write their predictions there as their benchmark takes them, also of rows without answers,
    which are not scored. Tasks whose data is not on this machine, or that have more images than the model
    takes, are an error; with `leave_out` the others are evaluated, and these are told to it and listed in
    `about["not_evaluated"]`. Of the tasks in `not_from_hub`, data sets of the hub count only where a copy is
    here. Raises UserError where nothing is left, where the split is in none of the tasks,
    and for data that cannot be read.
    """
    from unified.evaluation.predictor import Predictor

    with_rows = [task for task in tasks if task.spec.source is not None]
    if tasks and not with_rows:
        raise UserError(f"no `source`, so nothing to evaluate on: {', '.join(t.name for t in tasks)}")
    chosen = [task for task in with_rows if split in task.spec.source.splits]  # type: ignore[union-attr]
    if not chosen:
        known = sorted({s for task in with_rows for s in task.spec.source.splits})  # type: ignore[union-attr]
        raise UserError(
            f"no task has a split '{split}'{did_you_mean(split, known)}; there are {', '.join(known)}"
        )
    absent: dict[str, UserError] = {}

    def without(task: LoadedTask, why: UserError) -> None:
        if leave_out is None or len(chosen) == 1:
            raise why
        absent[task.name] = why
        leave_out(task.name, reason(task, why))

    for task in chosen:
        try:
            check_images(model.config, [task])
            if task.name in not_from_hub and (why := only_on_hub(task)):
                raise MissingData(f"{why}; name the task to load it")
        except UserError as error:
            without(task, error)
    check_joint(chosen)
    submitted = [] if submission is None else with_submission(chosen)
    files = None if submission is None else Submission(submission, split)
    results = Results(_about(model, processor, split, limit, seed))
    results.about["without_split"] = [t.name for t in tasks if t not in chosen]
    work = None if out is None else _work_folder(out)
    predictor = Predictor(model, processor, batch_size=batch_size)
    model.eval()
    scored: dict[str, Scored] = {}
    for task in chosen:
        if task.name in absent:
            continue
        started = time.perf_counter()
        name, asked = task.name, task in submitted
        try:
            answered = answer_split(
                predictor, task, split, limit=limit, seed=seed, unanswered=asked,
                scores=asked and wants_scores(task),
                on_progress=(lambda done, n: on_progress(name, done, n)) if on_progress else None,  # noqa: B023
            )  # fmt: skip
        except MissingData as missing:
            without(task, missing)
            continue
        read = answered.read
        seconds = time.perf_counter() - started
        if work is not None:
            work.mkdir(exist_ok=True)
        reading = Reading(processor, split, limit, seed)
        results.tasks[name], columns = score_task(reading, task, answered, seconds, work, model.device)
        if files is not None and asked:
            path = files.add(task, read.examples, answered.predictions)
            results.tasks[name].submission = str(path)
        scored[name] = remember(task, chosen, read.cases, columns)
        if on_task is not None:
            on_task(name, results.tasks[name])
    results.about["not_evaluated"] = {t.name: reason(t, absent[t.name]) for t in chosen if t.name in absent}
    if not results.tasks:
        listed = "\n".join(f"  {name}: {why}" for name, why in results.about["not_evaluated"].items())
        raise UserError(f"nothing that can be evaluated here:\n{listed}\n{WHERE_FROM}")
    for task in chosen:
        if task.name not in absent:
            add_joint(task, results.tasks[task.name], scored)
    if out is not None and work is not None:
        results.save(work)
        for name in (SAMPLES, PREDICTIONS, RESULTS):
            _replace(work / name, out / name)
        shutil.rmtree(work)
    return results


def _work_folder(out: Path) -> Path:
    """Where results grow: an evaluation that fails leaves those before it as they were."""
    if (out / SAMPLES).exists() and not (out / RESULTS).exists():
        raise UserError(
            f"{out}: holds a '{SAMPLES}' but no {RESULTS}, so it is not ours; choose another folder"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        error.filename = str(out)
        raise UserError(file_error(error)) from None
    shutil.rmtree(out / ".new", ignore_errors=True)
    return out / ".new"


def _replace(new: Path, old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old)
    if new.exists():
        new.replace(old)
    else:
        old.unlink(missing_ok=True)


def _about(
    model: UnifiedModel, processor: Processor, split: str, limit: int | None, seed: int
) -> dict[str, Any]:
    return {
        "split": split,
        "limit": limit,
        "seed": seed,
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "parameters": model.num_parameters(),
        "tokenizer": f"{processor.tokenizers.name}:{processor.tokenizers.hash[:12]}",
        "device": str(model.device),
        "command": command_line(),
        **surroundings(),
    }


# ------------------------------------------------------------------------------ a run's evaluation


def run_eval(
    run: str | Path,
    tasks: str = "all",
    *,
    split: str = "validation",
    limit: int | None = None,
    out: str | Path | None = None,
    submission: str | Path | None = None,
    batch_size: int = 32,
    device: str | None = None,
    seed: int = 0,
) -> Results:
    """Evaluates a run, model folder or shipped model, printing a line a task and the table.

    `tasks`: names, paths and `tag:NAME`, comma-separated; `all`: those that the model carries. Tasks whose
    data is not here are left out and listed, as in `evaluate`; a tag loads nothing from the hub. `out`
    defaults to `<run>/eval/<split>`, or `eval/<name>-<split>` for a model that is no run. `submission`:
    folder for the files that the servers of benchmarks take.
    """
    loaded = load_model_folder(run, device)
    chosen = select_tasks(tasks, loaded.tasks)
    folder = Path(out).expanduser() if out is not None else _default_out(run, split)

    def say(name: str, result: TaskResult) -> None:
        head = result.headline
        beside = f"baseline {shown(head, result.baseline)}, ceiling {shown(head, result.ceiling)}"
        line = f"{name}: {head} {shown(head, result.metrics)} ({beside}), {result.n} rows"
        line += f" and {result.skipped} that cannot be used" if result.skipped else ""
        line += f" and {result.unanswered} without an answer, not scored" if result.unanswered else ""
        print(f"{line}, {result.seconds:.1f} s", flush=True)

    results = evaluate(
        loaded.model, loaded.processor, chosen, split=split, limit=limit, batch_size=batch_size, seed=seed,
        out=folder, submission=None if submission is None else Path(submission).expanduser(), on_task=say,
        not_from_hub=_found_by_tag(tasks, loaded.tasks),
        leave_out=lambda name, why: print(f"{name}: not evaluated: {why}", flush=True),
    )  # fmt: skip
    results.about = {"model": str(run), **results.about}
    results.save(folder)
    print(f"\n{results.table()}\n")
    if results.about["without_split"]:
        print(f"without a split '{split}': {', '.join(results.about['without_split'])}")
    if results.about["not_evaluated"]:
        print(WHERE_FROM)
    _say_submission(results)
    print(f"wrote {folder}")
    return results


def _say_submission(results: Results) -> None:
    """Where the result files are, and what a server would miss in them."""
    written = {name: task for name, task in results.tasks.items() if task.submission is not None}
    for name, task in written.items():
        line = f"{name}: wrote {task.submission}"
        if task.skipped:
            line += f", without {task.skipped} rows that cannot be used"
        if results.about["limit"] is not None:
            line += f", of at most {results.about['limit']} rows: a server wants all"
        print(line)
    if written and len(written) < len(results.tasks):
        print(f"no `submission` is stated by: {', '.join(n for n in results.tasks if n not in written)}")


def select_tasks(selector: str, carried: dict[str, LoadedTask]) -> list[LoadedTask]:
    """The tasks that a selector means: those a model carries come first, then the shipped ones and files."""
    chosen: dict[str, LoadedTask] = {}
    for wanted in filter(None, (part.strip() for part in selector.split(","))):
        if wanted == "all":
            chosen |= carried
        elif wanted.startswith("tag:"):
            chosen |= _tagged(wanted[4:], carried)
        elif wanted in carried:
            chosen[wanted] = carried[wanted]
        else:
            task = load_task(wanted)
            chosen[task.name] = task
    if not chosen:
        raise UserError(
            f"--tasks {selector}: selects no task; the model carries {', '.join(carried) or 'none'}"
        )
    return list(chosen.values())


def _found_by_tag(selector: str, carried: dict[str, LoadedTask]) -> set[str]:
    """The tasks that a selector means by a tag alone."""
    parts = [part.strip() for part in selector.split(",") if part.strip()]
    others = ",".join(part for part in parts if not part.startswith("tag:"))
    named = {task.name for task in select_tasks(others, carried)} if others else set()
    return {task.name for task in select_tasks(selector, carried)} - named


def named_but_absent(selector: str, results: Results) -> list[str]:
    """The tasks that a selector names, not by tag, and that could not be evaluated."""
    absent = results.about["not_evaluated"]
    words = [word for part in selector.split(",") if (word := part.strip())]
    words = [word for word in words if word != "all" and not word.startswith("tag:")]
    known = {*absent, *results.tasks, *results.about["without_split"]}
    names = {word if word in known else load_task(word).name for word in words}
    return [name for name in absent if name in names]


def _tagged(tag: str, carried: dict[str, LoadedTask]) -> dict[str, LoadedTask]:
    found = {name: task for name, task in carried.items() if tag in task.spec.tags}
    if found:
        return found
    shipped = [load_task(path) for path in list_tasks()]
    known = sorted({t for task in [*carried.values(), *shipped] for t in task.spec.tags})
    if tag not in known:
        raise UserError(
            f"--tasks tag:{tag}: no task has that tag{did_you_mean(tag, known)}; tags: {', '.join(known)}"
        )
    return {task.name: task for task in shipped if tag in task.spec.tags}


def _default_out(run: str | Path, split: str) -> Path:
    folder, path = find_model_folder(run), Path(run).expanduser()
    if folder == path / "model":
        return path / "eval" / split
    return Path("eval") / f"{folder.name}-{split}"

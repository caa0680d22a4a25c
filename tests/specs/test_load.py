"""YAML rules, includes, names, identity, mixtures."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from unified.errors import UserError
from unified.specs.document import Place, Reader
from unified.specs.library import find_task
from unified.specs.load import LoadedTask, SpecError, list_tasks, load_mixture, load_task, to_yaml
from unified.specs.paths import resource

QA = """\
task: qa
tags: [text]
source: {type: csv, splits: {train: rows.csv}}
fields:
  question: question
  answer: {type: label}
input:
  prompt: "{{ question }}"
target: {field: answer}
options: {choices: [yes, no]}
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


# ------------------------------------------------------------------------------------------ YAML


def test_yaml_1_2_rules(tmp_path: Path) -> None:
    write(
        tmp_path, a="a: [yes, no, on]\nb: 1e-4\nc: 010\nd: 2020-01-01\ne: true\nf: ~\nmap: {0: a, true: b}\n"
    )
    data = Reader().read(tmp_path / "a.yaml").data
    assert data == {
        "a": ["yes", "no", "on"], "b": 1e-4, "c": 10, "d": "2020-01-01", "e": True, "f": None,
        "map": {"0": "a", "true": "b"},
    }  # fmt: skip


def test_every_key_knows_its_line(tmp_path: Path) -> None:
    write(tmp_path, a="a:\n  b: [1,\n      2]\n\nc:\n- x: 1\n  y: 2\n")
    document = Reader().read(tmp_path / "a.yaml")
    lines = {key: place.line for key, place in document.places.items()}
    assert lines == {
        ("a",): 1, ("a", "b"): 2, ("a", "b", 0): 2, ("a", "b", 1): 3,
        ("c",): 5, ("c", 0): 6, ("c", 0, "x"): 6, ("c", 0, "y"): 7,
    }  # fmt: skip
    assert document.place(("c", 0, "absent", "deep")).line == 6


def test_windows_file(tmp_path: Path) -> None:
    (tmp_path / "qa.yaml").write_bytes(b"\xef\xbb\xbf" + QA.replace("\n", "\r\n").encode())
    assert load_task(tmp_path / "qa.yaml").name == "qa"


# --------------------------------------------------------------------------------------- include


def test_include_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="a: {x: 1, y: {p: 1}}\nlist: [1, 2]\nkept: 1\n",
        second="a: {x: 2}\nsecond: 2\n",
        child="include: [base.yaml, second.yaml]\na: {y: {q: 2}}\nlist: [3]\n",
    )
    document = Reader().resolve(tmp_path / "child.yaml")
    assert document.data == {
        "a": {"x": 2, "y": {"p": 1, "q": 2}}, "list": [3], "kept": 1, "second": 2,
    }  # fmt: skip
    assert document.place(("a", "x")) == Place(tmp_path / "second.yaml", 1)
    assert document.place(("a", "y", "q")) == Place(tmp_path / "child.yaml", 2)
    assert document.place(("list", 0)) == Place(tmp_path / "child.yaml", 3)
    assert document.place(("list", 1)) == Place(tmp_path / "child.yaml", 3), "the base's item is gone"
    assert [p.name for p in document.sources] == ["child.yaml", "base.yaml", "second.yaml"]


def test_include_of_include(tmp_path: Path) -> None:
    folder = tmp_path / "bases"
    folder.mkdir()
    write(folder, a="include: b.yaml\nx: 1\n", b="x: 0\ny: 0\n")
    write(tmp_path, child="include: bases/a.yaml\n")
    assert Reader().resolve(tmp_path / "child.yaml").data == {"x": 1, "y": 0}


def test_long_cycle_is_told(tmp_path: Path) -> None:
    write(tmp_path, a="include: b.yaml\n", b="include: c.yaml\n", c="include: a.yaml\n")
    [problem] = Reader().resolve(tmp_path / "a.yaml").problems
    assert problem.message == "files include each other: a.yaml -> b.yaml -> c.yaml -> a.yaml"
    assert problem.file.name == "c.yaml"


def test_include_from_the_shipped_tasks(tmp_path: Path) -> None:
    shipped = next(p for p in list_tasks())
    relative = shipped.relative_to(resource("task_specs") / "tasks")
    write(tmp_path, mine=f"include: {relative}\ntask: mine\n")
    assert load_task(tmp_path / "mine.yaml").spec.source == load_task(shipped).spec.source


# ------------------------------------------------------------------------------------- load_task


def test_by_name_and_by_path(tmp_path: Path) -> None:
    path = list_tasks()[0]
    task = load_task(path)
    assert load_task(task.name).path == path
    write(tmp_path, qa=QA)
    assert load_task(tmp_path / "qa.yaml").path == tmp_path / "qa.yaml"


def test_unknown_names() -> None:
    name = load_task(list_tasks()[0]).name
    with pytest.raises(UserError, match=rf"unknown task '{name}x' \(did you mean '{name}'"):
        load_task(f"{name}x")
    with pytest.raises(UserError, match="there is no such file"):
        load_task("nowhere.yaml")


def test_broken_specs_stay_in_the_listing_and_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks").mkdir()
    write(tmp_path / "tasks", good=QA, broken="task: broken\nsource: [\n", _base="x: 1\n")
    monkeypatch.setattr("unified.specs.library.resource", lambda kind: tmp_path)
    assert [p.name for p in list_tasks()] == ["broken.yaml", "good.yaml"]
    assert find_task("broken").name == "broken.yaml"
    with pytest.raises(SpecError, match="not valid YAML"):
        load_task("broken")


def test_files_of_names_and_options_are_read_in(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text("yes\nno\n\n")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    text = QA.replace("{choices: [yes, no]}", "{file: answers.txt, decode: rank}")
    write(tmp_path, qa=text.replace("{type: label}", "{type: label, names: classes.txt}"))
    task = load_task(tmp_path / "qa.yaml")
    assert task.spec.options is not None
    assert task.spec.options.choices == ["yes", "no"] and task.spec.options.file is None
    assert task.spec.fields["answer"].names == ["sky", "road"]


def test_from_resolved_needs_no_file(tmp_path: Path) -> None:
    write(tmp_path, _base=QA, child="include: _base.yaml\ntask: group/child\nversion: 3\n")
    task = load_task(tmp_path / "child.yaml")
    stored = json.loads(json.dumps(task.resolved))
    again = LoadedTask.from_resolved(stored, Path("/elsewhere"))
    assert again.spec == task.spec and again.identity == task.identity
    assert again.path.parent == Path("/elsewhere")
    assert pickle.loads(pickle.dumps(task)).identity == task.identity


@pytest.mark.parametrize("path", list_tasks(), ids=lambda p: p.stem)
def test_resolved_yaml_loads_as_the_same_task(path: Path, tmp_path: Path) -> None:
    task = load_task(path)
    (tmp_path / "again.yaml").write_text(to_yaml(task.resolved))
    assert load_task(tmp_path / "again.yaml").identity == task.identity


# -------------------------------------------------------------------------------------- identity


def identity(folder: Path, text: str) -> str:
    write(folder, spec=text)
    return load_task(folder / "spec.yaml").identity


def test_identity_is_of_what_changes_results(tmp_path: Path) -> None:
    first = identity(tmp_path, QA)
    assert first.startswith("qa@v1:") and len(first) == len("qa@v1:") + 12
    lines = QA.splitlines(keepends=True)
    reordered = "".join(lines[6:] + lines[:6])
    longhand = QA.replace('prompt: "{{ question }}"', 'prompt: [{text: "{{ question }}", weight: 1}]')
    for same in (
        reordered,
        "# a comment\n" + QA.replace("label}", "label}  # here too"),
        longhand,
        QA.replace("question: question", "question: {path: question}"),
        QA + "description: Says yes or no.\nversion: 1\nsampling: {weight: 2}\n",
    ):
        assert identity(tmp_path, same) == first
    for other in (
        QA.replace("{{ question }}", "{{ question }}?"),
        QA.replace("[yes, no]", "[no, yes]"),
        QA.replace("rows.csv", "other.csv"),
        QA + "version: 2\n",
    ):
        assert identity(tmp_path, other) != first


def test_identity_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert identity(tmp_path / "a", QA) == identity(tmp_path / "b", QA)


# -------------------------------------------------------------------------------------- mixtures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, tag in (("a", "x"), ("b", "x"), ("c", "y")):
        write(tmp_path, **{name: QA.replace("task: qa", f"task: {name}").replace("text", tag)})
    return tmp_path


def flat(folder: Path, text: str) -> list[tuple[str, float, float | None, str | None]]:
    write(folder, mix="mixture: mix\n" + text)
    entries = load_mixture(folder / "mix.yaml").entries
    return [(e.task.name, e.weight, None if e.share is None else round(e.share, 6), e.group) for e in entries]


def test_tags_and_weights(folder: Path) -> None:
    assert flat(folder, "tasks: [{tag: x, weight: 2}, c.yaml]\n") == [
        ("a", 2.0, None, None), ("b", 2.0, None, None), ("c", 1.0, None, None),
    ]  # fmt: skip


def test_a_named_task_wins_over_its_tag(folder: Path) -> None:
    assert flat(folder, "tasks: [tag:x, {task: b.yaml, weight: 5}]\n") == [
        ("a", 1.0, None, None), ("b", 5.0, None, None),
    ]  # fmt: skip


def test_weights_of_nested_mixtures_multiply(folder: Path) -> None:
    write(folder, inner="mixture: inner\ntasks: [{task: a.yaml, weight: 3}, b.yaml]\n")
    assert flat(folder, "tasks: [{mixture: inner.yaml, weight: 2}, c.yaml]\n") == [
        ("a", 6.0, None, None), ("b", 2.0, None, None), ("c", 1.0, None, None),
    ]  # fmt: skip


def test_shares_are_divided_by_weight(folder: Path) -> None:
    write(folder, inner="mixture: inner\ntasks: [{task: a.yaml, weight: 3}, b.yaml]\n")
    assert flat(folder, "tasks: [{mixture: inner.yaml, share: 0.4}, c.yaml]\n") == [
        ("a", 3.0, 0.3, None), ("b", 1.0, 0.1, None), ("c", 1.0, None, None),
    ]  # fmt: skip
    write(folder, inner="mixture: inner\ntasks: [{task: a.yaml, share: 0.9}, b.yaml]\n")
    assert flat(folder, "tasks: [{mixture: inner.yaml, share: 0.5}, c.yaml]\n") == [
        ("a", 1.0, 0.45, None), ("b", 1.0, 0.05, None), ("c", 1.0, None, None),
    ]  # fmt: skip


def test_groups(folder: Path) -> None:
    text = "rate: {by: groups}\ngroups: {g: 1, h: 2}\ntasks: [{tag: x, group: g}, {task: c.yaml, group: h}]\n"
    assert [row[3] for row in flat(folder, text)] == ["g", "g", "h"]


def test_a_tag_does_not_pass_over_a_broken_file(folder: Path) -> None:
    """Whether the file has the tag cannot be known, so it is told, not dropped."""
    write(folder, broken="task: broken\ntags: [x\n")
    with pytest.raises(SpecError, match=r"broken\.yaml:\d+: not valid YAML"):
        flat(folder, "tasks: [tag:x]\n")


def test_mixtures_include(folder: Path) -> None:
    write(folder, _rates="rate: {by: sqrt, cap: 100}\n")
    write(folder, mix="include: _rates.yaml\nmixture: mix\ntasks: [a.yaml]\n")
    mixture = load_mixture(folder / "mix.yaml")
    assert (mixture.spec.rate.by, mixture.spec.rate.cap, mixture.name) == ("sqrt", 100, "mix")

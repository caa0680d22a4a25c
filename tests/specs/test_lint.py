"""Every kind of mistake has its message, at its line; and no YAML whatever makes the lint fall over."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unified.specs.check import check_tasks
from unified.specs.document import Document, Reader, read_file
from unified.specs.lint import Linter, lint_task
from unified.specs.load import SpecError, list_mixtures, list_tasks, load_task, to_yaml
from unified.specs.mixture import lint_mixture

BAD = Path(__file__).parents[1] / "assets" / "bad_specs"
FILES = [p for p in sorted(BAD.rglob("*.yaml")) if not p.name.startswith(("_", "ok_"))]
EXPECT = "# expect: "


def test_there_are_many_kinds_of_mistakes() -> None:
    assert len(FILES) >= 100


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(BAD).with_suffix("")))
def test_bad_spec_is_explained(path: Path) -> None:
    expected = [
        line.removeprefix(EXPECT) for line in path.read_text().splitlines() if line.startswith(EXPECT)
    ]
    assert expected, "the file must say what is expected"
    # Problems of the file itself are expected without its name, those of files beside it with theirs.
    own, beside = f"{_shown(path)}:", f"{_shown(path.parent)}/"
    got = [str(p).removeprefix(own).removeprefix(beside) for p in check_tasks([path]).problems]
    assert got == expected


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@pytest.mark.parametrize("path", [*list_tasks(), *list_mixtures()], ids=lambda p: p.stem)
def test_shipped_spec_is_clean(path: Path) -> None:
    assert not check_tasks([path]).problems


def test_shipped_names_are_unique() -> None:
    report = check_tasks(list_tasks())
    assert not report.problems
    assert len(report.tasks) == len(list_tasks())


def test_message_has_the_form_of_a_compiler() -> None:
    with pytest.raises(SpecError) as caught:
        load_task(BAD / "two_mistakes.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    path = _shown(BAD / "two_mistakes.yaml")
    assert lines[1] == f"{path}:18: metrcs: unknown key 'metrcs' (did you mean 'metrics'?)"
    assert caught.value.problems[0].line == 15


def test_missing_file_has_no_line(tmp_path: Path) -> None:
    linted = lint_task(tmp_path / "gone.yaml")
    assert [str(p) for p in linted.problems] == [f"{tmp_path}/gone.yaml: there is no such file"]


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("task: a\ndescription: caf\xe9\n".encode("latin-1"))
    assert str(lint_task(tmp_path / "latin.yaml").problems[0]).endswith(
        "latin.yaml:2: the file is not UTF-8 text"
    )


def test_two_files_with_one_name(tmp_path: Path) -> None:
    text = (BAD / "mixtures" / "ok_a.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text)
    [problem] = check_tasks([tmp_path]).problems
    assert problem.file.name == "b.yaml" and problem.line == 1
    assert "'ok_a' is taken by" in problem.message


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of the lint is that of reading: 100 specs, each and their common base once."""
    import unified.specs.document as document

    base = (BAD / "mixtures" / "ok_a.yaml").read_text().replace("task: ok_a\n", "")
    (tmp_path / "_base.yaml").write_text(base)
    for i in range(100):
        (tmp_path / f"t{i}.yaml").write_text(f"include: _base.yaml\ntask: t{i}\n")
    (tmp_path / "mix.yaml").write_text("mixture: mix\ntasks: [t1.yaml, t2.yaml]\n")
    read: list[Path] = []

    def counted(path: Path) -> Document:
        read.append(path)
        return read_file(path)

    monkeypatch.setattr(document, "read_file", counted)
    report = check_tasks([tmp_path])
    assert len(report.tasks) == 100 and not report.problems
    assert sorted(read) == sorted(set(read)) and len(read) == 102


# ------------------------------------------------------------------------------------ robustness

JUNK: list[Any] = [None, True, 3, -1.5, "x", "", [], {}, [None], ["x"], [[]], {"a": 1}, {"type": "text"}]


def _places(value: Any, key: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if key:
        yield key
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k, v in items:
        yield from _places(v, (*key, k))


RICH: dict[str, Any] = {
    "task": "rich",
    "tags": ["a"],
    "source": {"type": "coco", "kind": "instances", "splits": {"train": {"images": "a", "annotations": "b"}}},
    "fields": {
        "image": "image",
        "box": {"path": "box", "format": "xywh", "image": "image"},
        "label": {"map": {"0": "no"}, "names": ["no", "yes"]},
        "depth": None,
    },
    "preprocess": ["random_flip", {"min_area": {"field": "box", "pixels": 3}}],
    "input": {
        "images": ["image"],
        "prompt": [{"text": "{{ box }}?", "weight": 2}],
        "eval_prompt": "{{ box }}",
    },
    "target": {"field": "label", "max_tokens": 3},
    "options": {"choices": ["no", "yes"], "decode": "rank"},
    "metrics": ["accuracy", {"name": "exact_match", "references": "label", "args": {}}],
    "checks": [{"row": {"box": [1, 2, 3, 4], "label": "no"}, "prompt": "<box 1 2 3 4>", "target": "no"}],
}


def test_rich_specs_are_clean(tmp_path: Path) -> None:
    linter = Linter()
    linter.reader._files[BAD / "mixtures" / "rich.yaml"] = Document(BAD / "mixtures" / "rich.yaml", MIXTURE)
    assert lint_mixture(BAD / "mixtures" / "rich.yaml", linter)[1] == []
    (tmp_path / "rich.yaml").write_text(to_yaml(RICH))
    assert lint_task(tmp_path / "rich.yaml").problems == []


MIXTURE: dict[str, Any] = {
    "mixture": "rich",
    "rate": {"by": "groups", "temperature": 2, "cap": 100},
    "groups": {"a": 1, "b": 2},
    "tasks": [
        {"task": "ok_a.yaml", "weight": 2, "group": "a"},
        {"task": "ok_b.yaml", "group": "b"},
        {"task": "ok_c.yaml", "share": 0.5},
    ],
}


def _with_junk(data: dict[str, Any], key: tuple[Any, ...], path: Path) -> Iterator[Document]:
    for junk in JUNK:
        changed = copy.deepcopy(data)
        parent: Any = changed
        for part in key[:-1]:
            parent = parent[part]
        parent[key[-1]] = junk
        yield Document(path, changed)


@pytest.mark.parametrize("key", list(_places(RICH)), ids=lambda k: ".".join(map(str, k)))
def test_no_junk_makes_the_lint_of_a_task_fall_over(
    key: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands at whatever key, there is a task or there are problems."""
    path = Path("/spec.yaml")
    for document in _with_junk(RICH, key, path):
        monkeypatch.setattr(Reader, "read", lambda self, path, document=document: document)
        linted = Linter().task(path)
        assert (linted.task is None) == bool(linted.problems)


@pytest.mark.parametrize("key", list(_places(MIXTURE)), ids=lambda k: ".".join(map(str, k)))
def test_no_junk_makes_the_lint_of_a_mixture_fall_over(key: tuple[Any, ...]) -> None:
    path = BAD / "mixtures" / "rich.yaml"
    linter = Linter()
    for document in _with_junk(MIXTURE, key, path):
        linter.reader._files[path] = document
        mixture, problems = lint_mixture(path, linter)
        assert (mixture is None) == bool(problems)

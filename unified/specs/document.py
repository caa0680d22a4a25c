"""YAML with the line of every key: reading, and merging of `include`.

The rules are those of YAML 1.2 (`yes` is text, `1e-4` a number); a key that stands twice is a
problem, and so are tags and anchors that contain themselves. Keys of mappings are always text, as
written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from unified.specs.problems import Problem

Key: TypeAlias = tuple["str | int", ...]
"""Path of a value in a document, e.g. ("input", "prompt", 0)."""


def dotted(key: Key) -> str:
    """`("input", "prompt", 0)` -> `input.prompt[0]`."""
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in key).lstrip(".")


class Place(NamedTuple):
    file: Path
    line: int


@dataclass
class Document:
    """The plain data of a file (None where it could not be read) and where each key stands."""

    file: Path
    data: Any = None
    places: dict[Key, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    sources: tuple[Path, ...] = ()
    """All files that this one was made of."""
    prefix: Key = ()
    """Where this document stands in the file, if it is a part of it."""

    def place(self, key: Key) -> Place:
        """Where a key stands; for a key that is not there, its nearest parent."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, Place(self.file, 1))

    def problem(self, key: Key, message: str) -> Problem:
        return Problem(*self.place(key), dotted((*self.prefix, *key)), message)

    def part(self, key: Key, data: Any) -> Document:
        """The part at `key` as a document of its own, with `data` for its data."""
        places = {k[len(key) :]: p for k, p in self.places.items() if k[: len(key)] == key}
        file, line = self.place(key)
        return Document(self.file, data, {(): Place(file, line)} | places, prefix=(*self.prefix, *key))

    def get(self, key: Key) -> Any:
        """The value at a key; None where there is none."""
        value = self.data
        for k in key:
            try:
                value = value[k]
            except (KeyError, IndexError, TypeError):
                return None
        return value


class Reader:
    """Reads documents, each file once."""

    def __init__(self) -> None:
        self._files: dict[Path, Document] = {}

    def read(self, path: Path) -> Document:
        """One file as it stands. Mistakes are in `problems`, never raised."""
        path = Path(path).absolute()
        if path not in self._files:
            self._files[path] = read_file(path)
        return self._files[path]

    def resolve(self, path: Path, library: Path | None = None) -> Document:
        """A file with what it includes. Included files are looked for beside the file, then in
        `library`."""
        return self._resolve(Path(path).absolute(), library, ())

    def _resolve(self, path: Path, library: Path | None, parents: tuple[Path, ...]) -> Document:
        own = self.read(path)
        if not isinstance(own.data, dict) or "include" not in own.data:
            return own
        own = Document(path, dict(own.data), own.places, list(own.problems), (path,))
        names = own.data.pop("include")
        merged = Document(path, {}, sources=(path,))
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str):
                own.problems.append(own.problem(("include",), "must be a file name or a list of file names"))
                continue
            file = next((f for f in _candidates(name, path, library) if f.is_file()), None)
            if file is None:
                own.problems.append(own.problem(("include",), f"there is no file '{name}'"))
            elif file in (*parents, path):
                chain = " -> ".join(p.name for p in (*parents, path, file))
                own.problems.append(own.problem(("include",), f"files include each other: {chain}"))
            else:
                merged = merge(merged, self._resolve(file, library, (*parents, path)))
        return merge(merged, own)


def _candidates(name: str, path: Path, library: Path | None) -> Iterator[Path]:
    for folder in (path.parent, library):
        if folder is not None:
            yield (folder / name).absolute().resolve()


def merge(base: Document, child: Document) -> Document:
    """Mappings merge key by key, lists and scalars of the child replace those of the base."""
    places = dict(base.places)

    def walk(old: Any, new: Any, key: Key) -> Any:
        if isinstance(old, dict) and isinstance(new, dict):
            return {**old, **{k: walk(old[k], v, (*key, k)) if k in old else v for k, v in new.items()}}
        for gone in [p for p in places if p[: len(key)] == key]:
            del places[gone]
        return new

    data = walk(base.data, child.data, ()) if base.data is not None else child.data
    return Document(
        child.file,
        data,
        places | child.places,
        base.problems + child.problems,
        tuple(dict.fromkeys((*base.sources, *child.sources, base.file, child.file))),
    )


def read_file(path: Path) -> Document:
    document = Document(path, sources=(path,))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        document.problems.append(Problem(path, 0, "", "there is no such file"))
        return document
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        document.problems.append(Problem(path, line, "", "the file is not UTF-8 text"))
        return document
    except OSError as error:
        document.problems.append(Problem(path, 0, "", f"cannot be read: {error.strerror}"))
        return document
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except YAMLError as error:
        document.problems.append(_syntax_problem(path, text, error))
        return document
    builder = _Builder(document, yaml)
    document.data = builder.build(root, (), ()) if root is not None else {}
    if not isinstance(document.data, dict):
        kind = "a list" if isinstance(document.data, list) else "a single value"
        document.problems.append(Problem(path, 1, "", f"must be a mapping (`key: value` lines), not {kind}"))
        document.data = None
    return document


class _Builder:
    """Turns the node graph into plain data and notes the places."""

    def __init__(self, document: Document, yaml: YAML) -> None:
        self.document = document
        self.constructor = yaml.constructor

    def build(self, node: Node, key: Key, above: tuple[Node, ...]) -> Any:
        if any(node is a for a in above):
            return self._bad(node, key, "an anchor that contains itself")
        if isinstance(node, MappingNode):
            return self._mapping(node, key, (*above, node))
        if isinstance(node, SequenceNode):
            items = []
            for i, item in enumerate(node.value):
                self._note((*key, i), item)
                items.append(self.build(item, (*key, i), (*above, node)))
            return items
        assert isinstance(node, ScalarNode)
        return self._scalar(node, key)

    def _mapping(self, node: MappingNode, key: Key, above: tuple[Node, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._bad(key_node, key, "text that starts with '{' or '[' must be in quotes")
                continue
            name = key_node.value
            inner = (*key, name)
            if name in data:
                message = f"duplicate key '{name}' (first in line {first[name]})"
                self.document.problems.append(Problem(self.document.file, line, dotted(inner), message))
                continue
            first[name] = line
            self._note(inner, key_node)
            data[name] = self.build(value_node, inner, above)
        return data

    def _scalar(self, node: ScalarNode, key: Key) -> Any:
        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if kind == "null":
            return None
        if kind in ("bool", "int", "float"):
            return getattr(self.constructor, f"construct_yaml_{kind}")(node)
        if kind in ("str", "timestamp", "merge", "value"):
            return node.value
        return self._bad(node, key, f"the tag '{node.tag}' is not allowed")

    def _note(self, key: Key, node: Node) -> None:
        self.document.places[key] = Place(self.document.file, node.start_mark.line + 1)

    def _bad(self, node: Node, key: Key, message: str) -> None:
        line = node.start_mark.line + 1
        self.document.problems.append(Problem(self.document.file, line, dotted(key), message))


def _syntax_problem(path: Path, text: str, error: YAMLError) -> Problem:
    """The parser's complaint in plain words, with the usual mend."""
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    complaint = str(getattr(error, "problem", None) or error).splitlines()[0]
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    indent = here[: len(here) - len(here.lstrip())]
    if "\\t" in complaint or "\t" in indent:
        message = "a tab in the indentation; YAML wants spaces"
    elif "mapping values are not allowed" in complaint:
        message = "text that contains ': ' must be in quotes"
    elif "cannot start any token" in complaint:
        message = f"text that starts with {complaint.split()[2]} must be in quotes"
    elif "another document" in complaint:
        message = "one spec a file: a second document starts here"
    elif isinstance(error, MarkedYAMLError) and error.context_mark:
        start = error.context_mark.line + 1
        message = f"not valid YAML: {complaint}, {error.context} that starts in line {start}"
    else:
        message = f"not valid YAML: {complaint}"
    return Problem(path, line, "", message)

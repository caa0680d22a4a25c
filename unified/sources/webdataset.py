"""Tar shards, streamed through `webdataset`."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowStream
from unified.sources.location import Place
from unified.specs.source_schema import WebdatasetSource


class WebdatasetRows(RowStream):
    """Rows: {__key__, <extension>: value} in the order of the shards; an extension is all that
    follows the first dot of a file's name. `json` is parsed, `txt`, `text` and `cls` are text, `npy`
    is an array; all else (pictures among it) stays bytes, pickles too: they are never opened.

    Shards are local files or http(s) addresses, braces expand (`{000..099}.tar`).
    """

    def __init__(self, place: Place, spec: WebdatasetSource, split: str) -> None:
        from webdataset.shardlists import expand_urls

        self.root = place.root
        key = f"splits.{split}"
        patterns = spec.splits[split]
        self.name = place.at(key)
        self.shards: list[str] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            for name in expand_urls(place.expand(pattern, key)):
                if name.startswith(("http://", "https://")):
                    self.shards.append(name)
                elif name.startswith("pipe:") or "://" in name:
                    raise UserError(f"{self.name}: shards are local files or http(s) addresses, not {name}")
                else:
                    self.shards += map(str, place.files(name, key))

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        import webdataset

        shards = webdataset.WebDataset(
            self.shards, shardshuffle=False, nodesplitter=None, workersplitter=None, empty_check=False
        )
        try:
            for sample in shards:
                name = sample["__key__"]
                row: Row = {"__key__": name}
                for extension, value in sample.items():
                    if not extension.startswith("__"):
                        row[extension] = decode(extension, value)
                yield f"{sample['__url__'].rpartition('/')[2]}:{name}", row
        except (OSError, ValueError, tarfile.TarError) as error:
            # webdataset appends the shard to what the error says.
            reason = ", ".join(str(part) for part in error.args if isinstance(part, (str, int)))
            raise UserError(f"{self.name}: a shard cannot be read: {reason}") from error


def decode(extension: str, value: bytes) -> Any:
    """What a file in a shard holds, by the last part of its extension. A broken file stays as bytes,
    and the field that wants it says why it cannot use them."""
    kind = extension.rpartition(".")[2].lower()
    try:
        if kind == "json":
            return json.loads(value)
        if kind in ("txt", "text", "cls"):
            return value.decode("utf-8").strip() if kind == "cls" else value.decode("utf-8")
        if kind == "npy":
            return np.load(io.BytesIO(value), allow_pickle=False)
    except (ValueError, EOFError, RecursionError):
        return value
    return value

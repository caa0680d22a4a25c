"""Visual Dialog v1.0: one row for each round of each conversation.

A file holds the questions and the answers of all conversations as two lists, and a conversation as
numbers of their elements (visualdialog.org/data): `data.dialogs[{image_id, caption, dialog[{question,
answer, answer_options[100], gt_index}]}]`. Dense annotations, `[{image_id, round_id, gt_relevance[100]}]`,
judge every option of one round a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.jsonrows import PackedRows, load_document
from unified.sources.location import Place
from unified.sources.records import walk
from unified.specs.example import BadRow
from unified.specs.source_schema import VisdialSource


class _Texts:
    """A long list of texts in one buffer, which worker processes share without copying it."""

    def __init__(self, items: list[str]) -> None:
        encoded = [item.encode() for item in items]
        self.buffer = b"".join(encoded)
        self.ends = np.cumsum([0, *map(len, encoded)])

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self.ends) - 1:
            raise BadRow(f"text {number} of a list of {len(self.ends) - 1}")
        return self.buffer[self.ends[number] : self.ends[number + 1]].decode()


class VisdialRows(RowSource):
    """Rows {image_id, round_id (from 1), caption, history, question, answer, answer_options, gt_index,
    relevance}. `history` are the questions and answers before, in turn. Rounds that give no options, as all
    but the last of a test conversation, are no rows. `relevance` is 0 for every option of a round without
    dense annotations; hidden answers and places are left out."""

    def __init__(self, place: Place, spec: VisdialSource, split: str) -> None:
        self.root = place.root
        path = place.file(spec.splits[split], f"splits.{split}")
        document = load_document(path, place.at())
        data = walk(document, "data", path, place.at())
        if not isinstance(data, dict) or {"questions", "answers", "dialogs"} - data.keys():
            raise UserError(
                f"{place.at()}: {path} is no file of VisDial v1.0, in which `data` holds questions, answers "
                "and dialogs"
            )
        self.questions, self.answers = _Texts(data["questions"]), _Texts(data["answers"])
        self.rounds = np.array(
            [(i, k) for i, d in enumerate(data["dialogs"]) for k, turn in enumerate(d["dialog"])
             if "answer_options" in turn], np.int32,
        ).reshape(-1, 2)  # fmt: skip
        self.dialogs = PackedRows(data["dialogs"], place.root, path.name)
        self.dense: dict[tuple[int, int], list[float]] = {}
        if split in spec.dense:
            self.dense = _dense(place.file(spec.dense[split], f"dense.{split}"), place.at("dense"))

    def __len__(self) -> int:
        return len(self.rounds)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, k = self.rounds[index].tolist()
        dialog = self.dialogs[number]
        turns, turn = dialog["dialog"], dialog["dialog"][k]
        key = (dialog["image_id"], k + 1)
        row: Row = {
            "image_id": key[0],
            "round_id": key[1],
            "caption": dialog["caption"],
            "history": list(self._said(turns[:k])),
            "question": self.questions[turn["question"]],
            "answer_options": [self.answers[option] for option in turn["answer_options"]],
        }
        row["relevance"] = self.dense.get(key, [0.0] * len(row["answer_options"]))
        if "gt_index" in turn:
            row["gt_index"] = turn["gt_index"]
        if "answer" in turn:
            row["answer"] = self.answers[turn["answer"]]
        return row

    def _said(self, turns: list[Mapping[str, Any]]) -> Iterator[str]:
        for turn in turns:
            yield f"{self.questions[turn['question']]}?"
            yield f"{self.answers[turn['answer']]}."

    def key(self, index: int) -> str:
        number, k = self.rounds[index].tolist()
        return f"{self.dialogs.key(number)}.dialog[{k}]"


def _dense(path: Path, where: str) -> dict[tuple[int, int], list[float]]:
    """The relevances of the options, by (image, round). Files of the training split call them `relevance`."""
    found = load_document(path, where)
    try:
        return {
            (row["image_id"], row["round_id"]): row.get("gt_relevance", row.get("relevance")) for row in found
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{where}: {path} holds no dense annotations ({error}); it is a list of {{image_id, round_id, "
            "gt_relevance}"
        ) from error

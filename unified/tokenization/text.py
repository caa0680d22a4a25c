"""Text <-> ids of a sentencepiece model. No control token can be reached from text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified.errors import UserError
from unified.tokenization.vocabulary import Vocabulary

_EXTRA_ID = re.compile(r"<extra_id_(\d+)>")


def load_sentencepiece(path: Path) -> Any:
    """The sentencepiece model at `path`, checked for the fixed ids of pad, end and unknown."""
    import sentencepiece

    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{path}: not a sentencepiece model ({error}); copy it again from its source"
        ) from None
    found = (model.pad_id(), model.eos_id(), model.unk_id())
    if found != (Vocabulary.pad_id, Vocabulary.eos_id, Vocabulary.unk_id):
        raise UserError(
            f"{path}: pad, end and unknown have ids {found}, not (0, 1, 2); "
            "train the text model with `unified tokenizers train-text`"
        )
    return model


class TextTokenizer:
    """`encode` gives the pieces of a string without an end token; `decode` is its inverse up to the
    model's normalisation of white space.

    Strings that look like control tokens (`</s>`, `<extra_id_5>`) are encoded as ordinary text.
    Only `encode(..., strict=True)`, which sets with sentinels offer, reads `<extra_id_n>` as the
    reference does: 0..99 are sentinels, 100 + i is location bin i.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary

    def encode(self, text: str, strict: bool = False) -> list[int]:
        if not strict:
            return list(self._model.encode(text))
        if not self._vocabulary.sentinel.count:
            raise UserError(
                "this tokenizer set has no <extra_id_n> tokens; strict encoding is for `unified_io`"
            )
        ids: list[int] = []
        parts = _EXTRA_ID.split(text)
        for i, part in enumerate(parts):
            if i % 2:
                ids.append(self._extra_id(int(part)))
            else:
                ids += self._model.encode(part.strip())
        return ids

    def _extra_id(self, n: int) -> int:
        sentinels, locations = self._vocabulary.sentinel, self._vocabulary.location
        if n < sentinels.count:
            return sentinels.id(n)
        if n < sentinels.count + locations.count:
            return locations.id(n - sentinels.count)
        raise UserError(
            f"<extra_id_{n}> is outside this tokenizer set: 0..{sentinels.count - 1} are sentinels and up to "
            f"{sentinels.count + locations.count - 1} are locations"
        )

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; ids that are no pieces (pad, end, locations, codes) are left out."""
        pieces = self._vocabulary.text
        return str(self._model.decode([int(i) for i in ids if pieces.start <= i < pieces.stop]))

    def piece(self, token: int) -> str:
        """The piece of a text id, as sentencepiece spells it (`▁` for a space)."""
        return str(self._model.id_to_piece(int(token)))

    def byte_of(self, token: int) -> int | None:
        """The byte that a byte-fallback piece stands for, else None."""
        return int(self.piece(token)[1:-1], 16) if self._model.is_byte(int(token)) else None

    def __getstate__(self) -> dict[str, Any]:
        return {"proto": self._model.serialized_model_proto(), "vocabulary": self._vocabulary}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import sentencepiece

        self._model = sentencepiece.SentencePieceProcessor(model_proto=state["proto"])
        self._vocabulary = state["vocabulary"]

"""Text <-> ids of a sentencepiece model. No control token can be reached from text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified.errors import UserError
from unified.tokenization.vocabulary import Vocabulary

_CONTROL = re.compile(r"<extra_id_(?:0|[1-9]\d*)>|</s>|<pad>|<unk>")


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
    Only `encode(..., strict=True)`, which sets with sentinels offer, reads them as the reference does:
    `<extra_id_n>` is a sentinel for n in 0..99 and location bin n - 100 from there on, as far as there are
    bins.
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
        start = 0
        for match in _CONTROL.finditer(text):
            token = self._control(match[0])
            if token is not None:
                ids += [*self._model.encode(text[start : match.start()].strip()), token]
                start = match.end()
        return ids + list(self._model.encode(text[start:].strip()))

    def _control(self, name: str) -> int | None:
        """The id that the reference takes a control string for; None: for text."""
        vocabulary = self._vocabulary
        fixed = {"</s>": vocabulary.eos_id, "<pad>": vocabulary.pad_id, "<unk>": vocabulary.unk_id}
        if name in fixed:
            return fixed[name]
        n, sentinels, locations = int(name[10:-1]), vocabulary.sentinel, vocabulary.location
        if n < sentinels.count:
            return sentinels.id(n)
        return locations.id(n - sentinels.count) if n < sentinels.count + locations.count else None

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

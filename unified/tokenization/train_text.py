"""Training of a text tokenizer on the prompts and answers of a mixture."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import BadRow, Example
from unified.specs.load import load_mixture
from unified.specs.task import LoadedTask
from unified.tokenization.vocabulary import Vocabulary

WORD_COUNT = 5
"""How often each word of a word list counts."""


def train_text(
    mixture: str | Path,
    out: str | Path,
    vocab_size: int,
    n_rows: int,
    *,
    words: str | Path | None = None,
    seed: int = 0,
) -> Path:
    """Train a sentencepiece model of `vocab_size` pieces on `n_rows` rows of each task of a mixture, and
    write `text.model` into the folder `out`.

    Unigram, digits one by one, bytes for whatever the pieces lack, so that any text can be encoded.
    `words`: a file of further words, one a line, for the parts of words that strangers use. The same
    arguments give the same file.
    """
    import sentencepiece

    lines = list(mixture_texts(mixture, n_rows, seed))
    # A string is a candidate only where different characters follow it. A word that a space always
    # follows is none, so every word of the texts stands by itself and before a comma, too.
    own = sorted({word for line in lines for word in re.findall(r"[^\W\d_]+", line)})
    corpus = [*lines, *own, *(f"{word}," for word in own), *_words(words) * WORD_COUNT]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="unigram",
            character_coverage=1.0,
            byte_fallback=True,
            split_digits=True,
            pad_id=Vocabulary.pad_id,
            eos_id=Vocabulary.eos_id,
            unk_id=Vocabulary.unk_id,
            bos_id=-1,
            max_sentence_length=1 << 15,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            f"text tokenizer of {vocab_size} pieces on {len(lines)} texts of '{mixture}': {error}; "
            "take fewer pieces, more rows or a longer word list"
        ) from None
    path = Path(out) / "text.model"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return path


def mixture_texts(mixture: str | Path, n_rows: int, seed: int) -> Iterator[str]:
    """Prompts, answers and options of `n_rows` training rows of each task; locations are left out."""
    for number, entry in enumerate(load_mixture(mixture).entries):
        task = entry.task
        if task.spec.options:
            yield from task.spec.options.choices or ()
        source = open_source(task, "train")
        if not isinstance(source, RowSource):
            raise UserError(
                f"{task.path}: streams; texts for a tokenizer are drawn from sources with random access"
            )
        rng = np.random.default_rng((seed, number))
        for row in range(min(n_rows, len(source))):
            try:
                example = _example(task, source, row, rng)
            except BadRow:
                continue
            yield from _texts(example)


def _example(task: LoadedTask, source: RowSource, row: int, rng: np.random.Generator) -> Example:
    side = 64  # of pictures that are not looked at
    values = read_fields(task, source[row], source)
    return build_example(
        task, values, key=source.key(row), rng=rng, training=True, image_size=side, target_size=side
    )


def _texts(example: Example) -> Iterator[str]:
    answer: Sequence[object] = example.target if isinstance(example.target, tuple) else ()
    for part in (*example.prompt, *answer, *(example.options or ())):
        if isinstance(part, str) and part.strip():
            yield part.strip()


def _words(path: str | Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return Path(path).read_text(encoding="utf-8").split()
    except OSError as error:
        raise UserError(f"{path}: the word list cannot be read ({error.strerror})") from None

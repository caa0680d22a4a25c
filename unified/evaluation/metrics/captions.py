"""Captions, by pycocoevalcap (Chen et al. 2015, "Microsoft COCO captions: data collection and
evaluation server")."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, metric, strings
from unified.values.types import Value

TokenizerName = Literal["auto", "ptb", "plain"]


def plain_tokens(text: str) -> str:
    """Lower case, words and numbers only, single spaces: the stand-in for the Penn Treebank tokenizer,
    which differs mostly in clitics ("man's" -> "man 's")."""
    return " ".join(re.findall(r"[a-z0-9]+(?:['.,-][a-z0-9]+)*", text.lower()))


@functools.cache
def has_java() -> bool:
    return shutil.which("java") is not None


_PTB: dict[str, str] = {}
"""Texts tokenised so far: starting Java costs far more than tokenising."""


def _ptb_tokens(texts: list[str]) -> list[str]:
    """What pycocoevalcap's PTBTokenizer gives, without its chatter and once a text."""
    from pycocoevalcap.tokenizer import ptbtokenizer

    new = [t for t in dict.fromkeys(texts) if t not in _PTB]
    if new:
        jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
        tool = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
        java = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), *tool]
        done = subprocess.run(java, input="\n".join(new), capture_output=True, encoding="utf-8")
        lines = done.stdout.removesuffix("\n").split("\n")
        if done.returncode or len(lines) != len(new):
            raise UserError(
                f"Java could not run the PTB tokenizer; use tokenizer: plain. It said: {done.stderr[-300:]}"
            )
        for text, line in zip(new, lines, strict=True):
            words = [w for w in line.rstrip().split(" ") if w not in ptbtokenizer.PUNCTUATIONS]
            _PTB[text] = " ".join(words)
    return [_PTB[t] for t in texts]


def tokenise(
    predictions: Sequence[Value], references: Sequence[Value], tokenizer: TokenizerName
) -> tuple[dict[int, list[str]], dict[int, list[str]], str]:
    """-> (predictions, references, note) in the form pycocoevalcap takes: id -> tokenised strings.

    `ptb` is the tokenizer of published numbers and needs Java; `auto` takes it where Java is, and the note
    says which it was.
    """
    if tokenizer not in get_args(TokenizerName):
        choices = ", ".join(get_args(TokenizerName))
        raise UserError(f"metric argument tokenizer: '{tokenizer}' is none; there are: {choices}")
    if tokenizer == "ptb" and not has_java():
        raise UserError("metric argument tokenizer: ptb needs Java, and there is no `java` on the path")
    name = ("ptb" if has_java() else "plain") if tokenizer == "auto" else tokenizer
    texts = [strings(p)[0] for p in predictions]
    counts = [len(strings(r)) for r in references]
    flat = texts + [s for r in references for s in strings(r)]
    flat = [" ".join(t.split()) for t in flat]  # a line break would shift PTB's line-by-line answers
    tokens = _ptb_tokens(flat) if name == "ptb" else [plain_tokens(t) for t in flat]
    got = {i: [tokens[i]] for i in range(len(texts))}
    ends = len(texts) + np.cumsum(counts)
    want = {i: tokens[end - n : end] for i, (end, n) in enumerate(zip(ends, counts, strict=True))}
    return got, want, f"tokenizer: {name}"


def compute(scorer: Any, got: dict[int, list[str]], want: dict[int, list[str]]) -> tuple[Any, Any]:
    """(value, scores of the examples) by a scorer of pycocoevalcap, without its chatter."""
    with contextlib.redirect_stdout(io.StringIO()):
        return scorer.compute_score(want, got)


@metric("cider", unit="%")
def cider(
    predictions: Sequence[Value], references: Sequence[Value], tokenizer: TokenizerName = "auto"
) -> Score:
    """CIDEr-D (Vedantam et al. 2015) as pycocoevalcap computes it: tf-idf weighted similarity of 1- to
    4-grams, times 10; document frequencies come from the references of the evaluated set, so the number
    depends on the set. Papers print it times 100.

    nocaps by domain is this metric with `by: domain`: each domain is scored as a set of its own, with its own
    document frequencies, as COCOEvalCap does on the images of a domain; the code of the challenge's server
    (EvalAI 355; nocaps-org/updown-baseline updown/utils/evalai.py only submits to it) is not public."""
    from pycocoevalcap.cider.cider import Cider

    got, want, note = tokenise(predictions, references, tokenizer)
    value, each = compute(Cider(), got, want)
    return Score(float(value), tuple(float(s) for s in each), note)


@metric("bleu", unit="%")
def bleu(
    predictions: Sequence[Value], references: Sequence[Value], n: int = 4, tokenizer: TokenizerName = "auto"
) -> Score:
    """Corpus BLEU-n (Papineni et al. 2002; default n = 4) with the closest reference length, as
    pycocoevalcap computes it; BLEU-1 to n - 1 are parts. The scores of single examples are smoothed and do
    not average to it."""
    from pycocoevalcap.bleu.bleu import Bleu

    if not isinstance(n, int) or n < 1:
        raise UserError(f"metric bleu: n is a whole number above 0, not {n}")
    got, want, note = tokenise(predictions, references, tokenizer)
    value, each = compute(Bleu(n), got, want)
    parts = {f"BLEU-{k}": float(value[k - 1]) for k in range(1, n)}
    return Score(float(value[n - 1]), tuple(float(s) for s in each[n - 1]), note, parts)


@metric("rouge", unit="%")
def rouge(
    predictions: Sequence[Value], references: Sequence[Value], tokenizer: TokenizerName = "auto"
) -> Score:
    """ROUGE-L (Lin 2004) as pycocoevalcap computes it: F-measure (beta 1.2) of the longest common
    subsequence, best precision and best recall over the references, averaged over examples."""
    from pycocoevalcap.rouge.rouge import Rouge

    got, want, note = tokenise(predictions, references, tokenizer)
    value, each = compute(Rouge(), got, want)
    return Score(float(value), tuple(float(s) for s in each), note)

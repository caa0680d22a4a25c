"""METEOR and SPICE, which are Java programs that pycocoevalcap brings along. Where they cannot run, the
score is nan and its note says why."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from unified.errors import UserError
from unified.evaluation.metrics import captions
from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.evaluation.metrics.captions import TokenizerName, compute, tokenise
from unified.values.types import Value

SPICE_MODELS = "stanford-corenlp-3.6.0-models.jar"
_OPENED = ("java.base/java.lang", "java.base/java.util", "java.base/java.math", "java.base/java.text")
"""What SPICE's cache reflects on; Java 16 and later keep it shut unless told."""


def _absent(reason: str) -> Score:
    """The score of a metric whose program cannot run here: none, and why. It is no error, so that a task
    may name such a metric beside others and be scored on every machine."""
    return Score(math.nan, None, f"not computed: {reason}")


NO_JAVA = "it runs a Java program, and there is no `java` on the path"


class _Meteor:
    """METEOR 1.5 in dialogue, a line a question."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def _ask(self, line: str, answers: int = 1) -> list[str]:
        stdin, stdout = _pipe(self.process.stdin), _pipe(self.process.stdout)
        stdin.write(f"{line}\n".encode())
        stdin.flush()
        lines = [stdout.readline().decode().strip() for _ in range(answers)]
        if not all(lines):
            raise UserError("METEOR's Java program ended before its answer: is there 2 GB of memory for it?")
        return lines

    def scores(self, texts: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
        """(score of the whole set, scores of the texts), each against the best of its references."""
        stats = []
        for text, said in zip(texts, references, strict=True):
            parts = [part.replace("|||", " ") for part in (*said, text)]
            stats += self._ask("SCORE ||| " + " ||| ".join(" ".join(part.split()) for part in parts))
        *each, total = [float(s) for s in self._ask("EVAL ||| " + " ||| ".join(stats), len(stats) + 1)]
        return total, each


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without pipes")
    return stream


@contextmanager
def _meteor(*options: str) -> Iterator[_Meteor]:
    from pycocoevalcap.meteor import meteor

    folder = Path(meteor.__file__).parent
    command = ["java", "-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", "-stdio", *options]
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield _Meteor(process)
    finally:
        process.kill()
        process.communicate()


@metric("meteor", unit="%")
def meteor(
    predictions: Sequence[Value], references: Sequence[Value], tokenizer: TokenizerName = "auto"
) -> Score:
    """METEOR 1.5 (Denkowski and Lavie 2014) with the options of pycocoevalcap (-l en -norm): alignments of
    words, stems, synonyms and paraphrases with the best reference; the value is the score of the set's
    summed statistics, not the mean of the examples' scores. Needs Java."""
    if not captions.has_java():
        return _absent(NO_JAVA)
    got, want, note = tokenise(predictions, references, tokenizer)
    with _meteor("-l", "en", "-norm") as program:
        value, each = program.scores([got[i][0] for i in got], [want[i] for i in got])
    return Score(value, tuple(each), note)


@metric("vist_meteor", unit="%")
def vist_meteor(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """METEOR of stories as the VIST challenge of 2018 scores them (windx0303/VIST-Challenge-NAACL-2018,
    EvalVISTSharedTask.java): METEOR 1.5 with the parameters of its task `hter` and no normalisation, of
    each story against each reference of its photo sequence; the largest, averaged over sequences. Texts are
    taken as they are: the official ones come tokenised and in lower case. Needs Java."""
    if not captions.has_java():
        return _absent(NO_JAVA)
    texts = [strings(p)[0] for p in predictions]
    said = [strings(r) for r in references]
    with _meteor("-l", "en", "-t", "hter") as program:
        _, each = program.scores(
            [t for t, r in zip(texts, said, strict=True) for _ in r], [[s] for r in said for s in r]
        )
    place = iter(each)
    return mean_score([max(next(place) for _ in r) for r in said], "story texts as given, not tokenised")


@metric("spice", unit="%")
def spice(
    predictions: Sequence[Value], references: Sequence[Value], tokenizer: TokenizerName = "auto"
) -> Score:
    """SPICE (Anderson et al. 2016) as pycocoevalcap computes it: F-score of the objects, attributes and
    relations of scene graphs, averaged over examples; the F-scores of those kinds are parts. Needs Java,
    and the models of Stanford CoreNLP 3.6.0, which pycocoevalcap does not bring along."""
    if not captions.has_java():
        return _absent(NO_JAVA)
    from pycocoevalcap.spice import spice as program

    if not (Path(program.__file__).parent / "lib" / SPICE_MODELS).exists():
        return _absent(
            "the models of Stanford CoreNLP 3.6.0 (400 MB) are not there; "
            "`python -m pycocoevalcap.spice.get_stanford_models` fetches them"
        )
    got, want, note = tokenise(predictions, references, tokenizer)
    with _environment(JAVA_TOOL_OPTIONS=" ".join(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED)):
        value, each = compute(program.Spice(), got, want)
    parts = {
        kind: mean_score([one.get(kind, {}).get("f", float("nan")) for one in each]).value
        for kind in ("Object", "Attribute", "Relation")
    }
    return Score(float(value), tuple(float(one["All"]["f"]) for one in each), note, parts)


@contextmanager
def _environment(**more: str) -> Iterator[Mapping[str, str]]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield more
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

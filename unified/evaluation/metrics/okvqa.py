"""OK-VQA (answers compared as stems) and A-OKVQA (answers compared as they are)."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.evaluation.metrics.text import is_true
from unified.evaluation.metrics.vqa import leave_one_out, normalise_answer
from unified.values.types import Value

_SPECIAL = {
    "clothes": "cloth", "clothing": "cloth", "morning": "morn", "leaves": "leaf", "shelves": "shelve",
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse", "lice": "louse",
    "movies": "movie", "zombies": "zombie", "oxen": "ox", "skis": "ski", "quizzes": "quiz",
}  # fmt: skip
_SAME_IN_THE_PLURAL = {
    "fish", "jeans", "money", "rice", "series", "sheep", "species", "equipment", "information", "news", "gas",
    "las", "vegas", "texas", "kansas", "christmas", "police", "canvas", "atlas", "lens", "yes", "pajamas",
    "does", "was", "has", "always",
}  # fmt: skip
_NO_VERB = re.compile(
    r"^((some|any|every|no|play)?thing|ceiling|sibling|darling|sterling|duckling|dumpling|viking|earring|herring|"
    r"lightning|during)$"
)
_VOWEL = re.compile(r"[aeiouy]")
_DOUBLED = re.compile(r"(?<!^a)([bdgmnprt])\1$")
_LACKS_E = re.compile(
    r"""^[^aeiouy]*(qu)?[aeiouy][^aeiouwxy]$ |      # one syllable with one vowel and one consonant: rid, skat
    ((?<![eo])a|cre|[^aeiou]u|mo|vi)t$ | ([^oa]i|[^aeiou][aou])d$ | ([^a]i|[^o]u|(pre|com)pa|cla|squa)r$ |
    ([^aeiou][ao])k$ | [^aeiou]i[bn]$ | um$ | [^aeiou]ag$ | (?<!g)u$ | [aeiou]s$ | [lnpr]s$ | [cv]$ | (?<!z)z$
    | [^aeiouylrw]l$ | [dlr]g$ | (ch|r|str)ang$ | [lp](e|u)ng$ |             # juggl, charg, chang, plung
    (eath|bath|cloth|sooth|wast|tast|past|plor|stor|scap)$""",
    re.VERBOSE,
)


def _singular(word: str) -> str:
    """The singular of a plural noun by the rules of the `inflection` package that English answers need."""
    if len(word) < 4 or word in _SAME_IN_THE_PLURAL or re.search(r"(ss|us|is|'s)$", word):
        return word
    if re.search(r"(kni|wi|\bli|cal|hal|wol|el|loa|thie|hoo|scar|whar)ves$", word):
        return word[:-3] + ("fe" if word.endswith("ives") else "f")
    if re.search(r"[^aeiou]ies$", word) and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"((x|ch|ss|sh|bus|status)es|(?<!sh)oes)$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def _verb(word: str) -> str:
    """The verb of a word in -ing; the word itself where what is left is none. Agrees with WordNet's
    lemmatizer on 93 % of the verbs of WordNet 3.0."""
    root = word[:-3]
    if not _VOWEL.search(root) or _NO_VERB.search(word):
        return word
    if re.fullmatch(r"[dltv]y", root):
        return root[:-1] + "ie"
    if _DOUBLED.search(root):
        return root[:-1]
    return root + "e" if _LACKS_E.search(root) else root


def stem(word: str) -> str:
    """A word of an answer as OK-VQA v1.1 stems it: verbs in -ing lose it, plural nouns become singular."""
    if word in _SPECIAL:
        return _SPECIAL[word]
    return _verb(word) if word.endswith("ing") else _singular(word)


def _stemmed(text: str, learned: Mapping[str, str]) -> str:
    return " ".join(learned.get(w) or stem(w) for w in normalise_answer(text).split())


def _learn(raw: Sequence[Value], answers: Sequence[Value]) -> dict[str, str]:
    """Word -> its stem as the data set itself has it, from answers in both forms, word by word."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row, (before, after) in enumerate(zip(raw, answers, strict=True)):
        if len(strings(before)) != len(strings(after)):
            raise UserError(
                f"okvqa_accuracy: raw: {len(strings(before))} raw answers for {len(strings(after))} answers "
                f"in example {row}; name the fields that list `raw_answer` and `answer` of the same entries"
            )
        for a, b in zip(strings(before), strings(after), strict=True):
            words, stems = normalise_answer(a).split(), normalise_answer(b).split()
            if len(words) == len(stems):
                for word, its_stem in zip(words, stems, strict=True):
                    seen[word][stem(its_stem)] += 1
    return {word: stems.most_common(1)[0][0] for word, stems in seen.items()}


@metric("okvqa_accuracy", unit="%")
def okvqa_accuracy(
    predictions: Sequence[Value], references: Sequence[Value], raw: Sequence[Value] | None = None
) -> Score:
    """VQA accuracy (leave-one-out, min(1, equal / 3)) of stemmed answers (Marino et al. 2019; stemming as in
    ok_vqa_utils.py of mlfoundations/open_flamingo 655f693): words in -ing become the verb, plural nouns
    singular; then prediction and human answers are normalised in full.

    OK-VQA has five answers a question, each written twice in the released files; five or fewer answers count
    twice each here. The `answer` of those files is stemmed already, which the stemmer leaves alone. `raw`:
    the answers before stemming (`raw_answer`); with them each word is stemmed as the data set stems it.

    open_flamingo finds verbs and plurals by NLTK's tagger and WordNet, whose data pip cannot install; here
    they are told by their endings, and no word is stemmed on one side only. What open_flamingo cuts off
    generated text (after `, `, `Question`, `Answer`) is no part of the metric. A single answer counts as ten.
    """
    learned = _learn(raw, references) if raw is not None else {}
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        humans = [_stemmed(h, learned) for h in strings(reference)]
        if not humans:
            scores.append(math.nan)
            continue
        humans = humans * 10 if len(humans) == 1 else humans * 2 if len(humans) <= 5 else humans
        scores.append(leave_one_out(_stemmed(strings(prediction)[0], learned), humans))
    return mean_score(scores, "words stemmed by their endings")


@metric("aokvqa_direct", unit="%")
def aokvqa_direct(
    predictions: Sequence[Value], references: Sequence[Value], difficult: Sequence[Value] | None = None
) -> Score:
    """A-OKVQA's direct answer: mean of min(1, number of equal answers of ten / 3), with no leave-one-out and
    no normalisation (eval_predictions.py of allenai/aokvqa 83786de). Questions whose field `difficult`
    (`difficult_direct_answer`) is true are left out, as there. A single answer counts as
    ten. Multiple choice: `accuracy`."""
    hard = (
        [False] * len(references) if difficult is None else [is_true(d, "aokvqa_direct") for d in difficult]
    )
    scores = []
    for prediction, reference, left_out in zip(predictions, references, hard, strict=True):
        humans = strings(reference)
        equal = sum(human == strings(prediction)[0] for human in humans)
        score = min(1.0, equal / 3) if len(humans) > 1 else float(equal)
        scores.append(math.nan if left_out else score)
    known = [s for s in scores if not math.isnan(s)]
    note = f"{sum(hard)} questions without a definite direct answer left out" if any(hard) else ""
    return Score(sum(known) / len(known) if known else math.nan, tuple(scores), note)

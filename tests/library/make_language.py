"""Writes the fixtures of the language tasks, and of their mirrors on the hub, in the official formats:
`python tests/library/make_language.py`. The sentences are our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
from make_closed_hub import NUMBER, TEXT, parquet

ROOT = Path(__file__).parents[1] / "assets" / "library"
SPLITS = ("train", "validation", "test")

# one paraphrase in two, so that F1 of always saying yes is 2 * 2 / (4 + 2)
PAIRS = [
    (
        "The bank raised its rates on Monday .",
        'Rates were raised on Monday , the bank said : " at last " .',
        1,
    ),
    ("Rain is expected in the north .", "The south stays dry until Friday .", 0),
    ("Two men were hurt when a bus hit a wall .", "A bus ran into a wall , hurting two men .", 1),
    ("The museum opens at ten .", "The museum was closed for ten years .", 0),
]
# entailed, neutral, contradicted, entailed
JUDGED = [
    ("A dog sleeps on the red sofa.", "An animal is asleep.", "entailment"),
    ("A dog sleeps on the red sofa.", "The dog is old.", "neutral"),
    ("A dog sleeps on the red sofa.", "The sofa is empty.", "contradiction"),
    ("Nobody came to the party.", "The guests stayed away.", "entailment"),
]
YES_NO = [
    (
        "is a tomato a fruit",
        "Tomato",
        "The tomato is the berry of a plant, so botanists call it a fruit.",
        True,
    ),
    ("do penguins fly", "Penguin", "Penguins swim with their wings and cannot fly.", False),
    ("is glass a liquid", "Glass", "Glass is a solid whose atoms are in no order.", False),
    ("does ice float on water", "Ice", "Ice is lighter than water and floats on it.", True),
]
ARTICLES = [
    ("Mill", "The old mill was built in 1820 by Anna Berg . It burnt down in 1911 .", [
        ("Who built the mill ?", ["Anna Berg", "Anna Berg"]),
        ("When did it burn down ?", ["1911", "in 1911"])]),
    ("River", "The river Aven is 40 km long and flows into the North Sea .", [
        ("How long is the Aven ?", ["40 km"]), ("Where does it end ?", ["the North Sea", "North Sea"])]),
]  # fmt: skip


def tsv(path: str, rows: list[list[Any]]) -> None:
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def document(path: str, text: str) -> None:
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def mrpc() -> None:
    header = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    rows = [[same, 100 + i, 200 + i, a, b] for i, (a, b, same) in enumerate(PAIRS)]
    header[0] = "\ufeff" + header[0]  # the files begin with a byte order mark
    for name in ("train.tsv", "dev.tsv", "msr_paraphrase_test.txt"):
        tsv(f"glue/MRPC/{name}", [header, *rows])
    label = datasets.ClassLabel(names=["not_equivalent", "equivalent"])
    features = {"sentence1": TEXT, "sentence2": TEXT, "label": label, "idx": datasets.Value("int32")}
    hub = [{"sentence1": a, "sentence2": b, "label": y, "idx": i} for i, (a, b, y) in enumerate(PAIRS)]
    for split in SPLITS:
        parquet(f"nyu-mll/glue/mrpc/{split}-00000-of-00001.parquet", hub, features)


def mnli() -> None:
    header = ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse",
              "sentence1_parse", "sentence2_parse", "sentence1", "sentence2"]  # fmt: skip
    # one annotator in training, five of whom two disagree in validation
    for name, annotators in (("train", 1), ("dev_matched", 5), ("dev_mismatched", 5)):
        labels = [f"label{i + 1}" for i in range(annotators)]
        rows = [[i, 50 + i, f"{50 + i}e", "fiction", *["( ... )"] * 4, a, b,
                 *(["neutral", "contradiction", y, y, y][-annotators:]), y]
                for i, (a, b, y) in enumerate(JUDGED)]  # fmt: skip
        tsv(f"glue/MNLI/{name}.tsv", [[*header, *labels, "gold_label"], *rows])
    label = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    features = {"premise": TEXT, "hypothesis": TEXT, "label": label, "idx": datasets.Value("int32")}
    hub = [{"premise": a, "hypothesis": b, "label": label.str2int(y), "idx": i}
           for i, (a, b, y) in enumerate(JUDGED)]  # fmt: skip
    for split in ("train", "validation_matched", "validation_mismatched"):
        parquet(f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet", hub, features)
    validation = ("train", "validation_matched", "validation_mismatched")
    card = {name: {split: f"{name}/{split}-*" for split in splits}
            for name, splits in {"mrpc": SPLITS, "mnli": validation}.items()}  # fmt: skip
    configs("nyu-mll/glue", card)


def rte() -> None:
    names = {"entailment": "entailment"}
    rows = [[i, a, b, names.get(y, "not_entailment")] for i, (a, b, y) in enumerate(JUDGED)]
    for name in ("train", "dev"):
        tsv(f"glue/RTE/{name}.tsv", [["index", "sentence1", "sentence2", "label"], *rows])


def scitail() -> None:
    names = {"entailment": "entails"}
    rows = [[a, b, names.get(y, "neutral")] for a, b, y in JUDGED]
    for name in ("train", "dev", "test"):
        tsv(f"scitail/SciTailV1.1/tsv_format/scitail_1.0_{name}.tsv", rows)
    parses = ("sentence1_binary_parse", "sentence1_parse", "sentence2_parse")
    hub = [{**dict.fromkeys(parses, "( ... )"), "sentence1": a, "sentence2": b,
            "gold_label": y if y in names else "neutral", "annotator_labels": [y]}
           for a, b, y in JUDGED]  # fmt: skip
    features = dict.fromkeys((*parses, "sentence1", "sentence2", "gold_label"), TEXT)
    features["annotator_labels"] = [TEXT]
    for split in SPLITS:
        parquet(f"allenai/scitail/snli_format/{split}-00000-of-00001.parquet", hub, features)
    configs("allenai/scitail", {"snli_format": {split: f"snli_format/{split}-*" for split in SPLITS}})


def boolq() -> None:
    rows = [{"question": q, "title": t, "answer": y, "passage": p} for q, t, p, y in YES_NO]
    for name in ("train", "dev"):
        document(f"boolq/{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    features = {"question": TEXT, "answer": datasets.Value("bool"), "passage": TEXT}
    hub = [{key: row[key] for key in features} for row in rows]
    for split in ("train", "validation"):
        parquet(f"google/boolq/data/{split}-00000-of-00001.parquet", hub, features)


def squad() -> None:
    data, hub = [], []
    for a, (title, context, questions) in enumerate(ARTICLES):
        qas = []
        for q, (question, answers) in enumerate(questions):
            found = [{"answer_start": context.index(text), "text": text} for text in answers]
            qas.append({"id": f"{a}{q}", "question": question, "answers": found})
            columns = {"text": answers, "answer_start": [f["answer_start"] for f in found]}
            hub.append({"id": f"{a}{q}", "title": title, "context": context, "question": question,
                        "answers": columns})  # fmt: skip
        data.append({"title": title, "paragraphs": [{"context": context, "qas": qas}]})
    for name in ("train", "dev"):
        document(f"squad/{name}-v1.1.json", json.dumps({"version": "1.1", "data": data}))
    features = {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT,
                "answers": {"text": [TEXT], "answer_start": [NUMBER]}}  # fmt: skip
    for split in ("train", "validation"):
        parquet(f"rajpurkar/squad/plain_text/{split}-00000-of-00001.parquet", hub, features)


def configs(hub_id: str, wanted: dict[str, dict[str, str]]) -> None:
    """The part of a mirror's card that says which files belong to which configuration."""
    lines = ["---", "configs:"]
    for name, splits in wanted.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    document(f"hub/{hub_id}/README.md", "\n".join([*lines, "---", ""]))


if __name__ == "__main__":
    for make in (mrpc, mnli, rte, scitail, boolq, squad):
        make()

"""Writes the mirrors of the closed-set tasks, parquet files as on the hub, of what make_closed.py wrote:
`python tests/library/make_closed_hub.py`. Names and types of columns are those of the data sets' cards.
"""

from __future__ import annotations

import json
from typing import Any

import datasets
from make_closed import ROOT


def load(path: str) -> Any:
    return json.loads((ROOT / path).read_text())


def parquet(path: str, rows: list[dict], features: dict) -> None:
    """One file of a mirror. Pictures are bytes in the file, as there."""
    target = ROOT / "hub" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    table.to_parquet(str(target))


def picture(path: str) -> dict[str, Any]:
    return {"bytes": (ROOT / path).read_bytes(), "path": None}


TEXT, NUMBER, PICTURE = datasets.Value("string"), datasets.Value("int64"), datasets.Image()


def hub_vqav2() -> None:
    answer = {"answer": TEXT, "answer_confidence": TEXT, "answer_id": NUMBER}
    features = {"question_type": TEXT, "multiple_choice_answer": TEXT, "answers": [answer],
                "image_id": NUMBER, "answer_type": TEXT, "question_id": NUMBER, "question": TEXT,
                "image": PICTURE}  # fmt: skip
    names = {"validation": ("val2014", "val2014"), "testdev": ("test-dev2015", "test2015"),
             "test": ("test2015", "test2015")}  # fmt: skip
    for split, (official, folder) in names.items():
        rows = load(f"vqav2/v2_OpenEnded_mscoco_{official}_questions.json")["questions"]
        known = {}
        if split == "validation":
            found = load("vqav2/v2_mscoco_val2014_annotations.json")["annotations"]
            known = {row["question_id"]: row for row in found}
        rows = [
            dict.fromkeys(features) | known.get(row["question_id"], {}) | row
            | {"image": picture(f"coco/{folder}/COCO_{folder}_{row['image_id']:012d}.jpg")}
            for row in rows
        ]  # fmt: skip
        parquet(f"lmms-lab/VQAv2/data/{split}-00000-of-00001.parquet", rows, features)


def hub_okvqa() -> None:
    questions = load("okvqa/OpenEnded_mscoco_val2014_questions.json")["questions"]
    known = load("okvqa/mscoco_val2014_annotations.json")["annotations"]
    rows = [
        {"question_id": str(q["question_id"]), "question": q["question"], "question_type": a["question_type"],
         "answer_type": a["answer_type"], "answers": [given["raw_answer"] for given in a["answers"]],
         "image": picture(f"coco/val2014/COCO_val2014_{q['image_id']:012d}.jpg")}
        for q, a in zip(questions, known, strict=True)
    ]  # fmt: skip
    features = {"question_id": TEXT, "image": PICTURE, "question": TEXT, "answers": [TEXT],
                "question_type": TEXT, "answer_type": TEXT}  # fmt: skip
    parquet("lmms-lab/OK-VQA/data/val2014-00000-of-00001.parquet", rows, features)


def hub_aokvqa() -> None:
    """Its direct answers are a list written as text."""
    features = {"image": PICTURE, "question_id": TEXT, "question": TEXT, "choices": [TEXT],
                "correct_choice_idx": datasets.Value("int8"), "direct_answers": TEXT,
                "difficult_direct_answer": datasets.Value("bool"), "rationales": [TEXT]}  # fmt: skip
    for split, official in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = []
        for row in load(f"aokvqa/aokvqa_v1p0_{official}.json"):
            answers = {"direct_answers": str(row["direct_answers"])} if "direct_answers" in row else {}
            image = {"image": picture(f"coco/{official}2017/{row['image_id']:012d}.jpg")}
            kept = {key: row.get(key) for key in features}
            rows.append(kept | answers | image)
        parquet(f"HuggingFaceM4/A-OKVQA/data/{split}-00000-of-00001.parquet", rows, features)


def hub_vizwiz() -> None:
    features = {"question_id": TEXT, "image": PICTURE, "question": TEXT, "answers": [TEXT], "category": TEXT}
    for split in ("val", "test"):
        rows = [
            {"question_id": row["image"].removesuffix(".jpg"), "question": row["question"],
             "answers": [a["answer"] for a in row["answers"]] if "answers" in row else None,
             "category": row.get("answer_type"), "image": picture(f"vizwiz/{split}/{row['image']}")}
            for row in load(f"vizwiz/Annotations/{split}.json")
        ]  # fmt: skip
        parquet(f"lmms-lab/VizWiz-VQA/data/{split}-00000-of-00001.parquet", rows, features)


def hub_gqa() -> None:
    features = {
        "id": TEXT, "imageId": TEXT, "question": TEXT, "answer": TEXT, "fullAnswer": TEXT,
        "isBalanced": datasets.Value("bool"), "groups": {"global": TEXT, "local": TEXT}, "entailed": TEXT,
        "equivalent": TEXT, "types": {"structural": TEXT, "semantic": TEXT, "detailed": TEXT},
        "semanticStr": TEXT,
    }  # fmt: skip
    rows = [
        {key: row.get(key) for key in features} | {"id": number, "entailed": str(row["entailed"]),
                                                   "equivalent": str(row["equivalent"])}
        for number, row in load("gqa/testdev_balanced_questions.json").items()
    ]  # fmt: skip
    parquet("lmms-lab/GQA/testdev_balanced_instructions/testdev-00000-of-00001.parquet", rows, features)
    ids = dict.fromkeys(row["imageId"] for row in rows)
    images = [{"id": image, "image": picture(f"gqa/images/{image}.jpg")} for image in ids]
    parquet("lmms-lab/GQA/testdev_balanced_images/testdev-00000-of-00001.parquet", images,
            {"id": TEXT, "image": PICTURE})  # fmt: skip
    (ROOT / "hub/lmms-lab/GQA/README.md").write_text(CARD)


CARD = """---
configs:
- config_name: testdev_balanced_images
  data_files:
  - split: testdev
    path: testdev_balanced_images/testdev-*
- config_name: testdev_balanced_instructions
  data_files:
  - split: testdev
    path: testdev_balanced_instructions/testdev-*
---
"""
"""What the mirror's card says of its configurations."""


def hub_snli_ve() -> None:
    features = {"image": PICTURE, "filename": TEXT, "premise": TEXT, "hypothesis": TEXT,
                "label": datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])}  # fmt: skip
    for split, official in (("train", "train"), ("validation", "dev"), ("test", "test")):
        lines = (ROOT / f"snli_ve/snli_ve_{official}.jsonl").read_text().splitlines()
        rows = []
        for row in map(json.loads, lines):
            name = row.get("Flikr30kID") or f"{row['Flickr30K_ID']}.jpg"
            rows.append({"image": picture(f"flickr30k/flickr30k-images/{name}"), "filename": name,
                         "premise": row["sentence1"], "hypothesis": row["sentence2"],
                         "label": row["gold_label"]})  # fmt: skip
        parquet(f"sedrickkeh/snli-ve/data/{split}-00000-of-00001.parquet", rows, features)


def hub_visdial() -> None:
    """Rounds are lists of question and answer; there are no options."""
    features = {"caption": TEXT, "dialog": [[TEXT]], "image_path": TEXT, "global_image_id": TEXT,
                "anns_id": TEXT, "image": PICTURE}  # fmt: skip
    names = {"train": ("train", "coco/train2014/COCO_train2014"),
             "validation": ("val", "visdial/VisualDialog_val2018/VisualDialog_val2018")}  # fmt: skip
    for split, (official, folder) in names.items():
        data = load(f"visdial/visdial_1.0_{official}.json")["data"]
        rows = []
        for dialog in data["dialogs"]:
            path = f"{folder}_{dialog['image_id']:012d}.jpg"
            asked, said = data["questions"], data["answers"]
            turns = [[asked[t["question"]], said[t["answer"]]] for t in dialog["dialog"]]
            rows.append({"caption": dialog["caption"], "dialog": turns, "image_path": path,
                         "global_image_id": str(dialog["image_id"]), "anns_id": str(dialog["image_id"]),
                         "image": picture(path)})  # fmt: skip
        parquet(f"HuggingFaceM4/VisDial/data/{split}-00000-of-00001.parquet", rows, features)


def main() -> None:
    for make in (hub_vqav2, hub_okvqa, hub_aokvqa, hub_vizwiz, hub_gqa, hub_snli_ve, hub_visdial):
        make()


if __name__ == "__main__":
    main()

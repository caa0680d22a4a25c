"""Writes the fixtures of the closed-set tasks: `python tests/library/make_closed.py`.

Structure, file names and keys are those of the released data; pictures are toybox renders, sentences and
ids are our own. Running it again writes the same files. The mirrors: make_closed_hub.py; Karpathy's splits:
make_karpathy.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image

from unified.sources.toybox.source import ToyboxRows
from unified.specs.source_schema import ToyboxSource

ROOT = Path(__file__).parent.parent / "assets" / "library"
SCENES = ToyboxRows(ToyboxSource(type="toybox", kind="caption", image_size=80), "train")
NUMBERS = ("zero", "one", "two", "three", "four", "five")


class Scene:
    """Scene `index` of the toybox: its picture and what can be said of it."""

    def __init__(self, index: int) -> None:
        row = SCENES[index % len(SCENES)]
        self.pixels, self.captions = row["image"], row["captions"]
        self.things = row["scene"]["things"]
        self.first = self.things[0]

    def save(self, path: str) -> None:
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(self.pixels).save(target, quality=80)

    @property
    def named(self) -> str:
        return f"{self.first['colour']} {self.first['shape']}"


def write(path: str, document: object) -> None:
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_lines(path: str, rows: list[dict]) -> None:
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def answers(*counted: tuple[str, int], **more: dict) -> list[dict]:
    """Ten answers of an annotation, `(text, times)`."""
    texts = [text for text, times in counted for _ in range(times)]
    assert len(texts) == 10
    return [
        {"answer": text, "answer_confidence": "yes" if i % 3 else "maybe", "answer_id": i + 1}
        for i, text in enumerate(texts)
    ]


# ---------------------------------------------------------------------------------- COCO pictures

COCO = {"train2014": 400101, "val2014": 400201, "test2015": 400301}
PER_SPLIT = 6


def coco_pictures() -> None:
    """The same pictures under their 2014 and 2017 names."""
    for split, first in COCO.items():
        for i in range(PER_SPLIT):
            scene, image = Scene(first + i), first + i
            scene.save(f"coco/{split}/COCO_{split}_{image:012d}.jpg")
            if split != "test2015":
                scene.save(f"coco/{split[:-4]}2017/{image:012d}.jpg")
    for i in range(2):
        Scene(400301 + i).save(f"coco/test2017/{400301 + i:012d}.jpg")


def questions_of(scene: Scene) -> list[tuple[str, str, str, list[dict]]]:
    """(question, question type, answer type, answers) of a scene, one of each answer type."""
    first, count = scene.first, len(scene.things)
    other = "grey" if first["colour"] != "grey" else "white"
    return [
        (f"Is there a {scene.named} in the picture?", "is there a", "yes/no", answers(("yes", 10))),
        ("How many things are there?", "how many", "number",
         answers((str(count), 7), (NUMBERS[count], 1), (str(count + 1), 2))),
        (f"What color is the {first['shape']} in front?", "what color is the", "other",
         answers((first["colour"], 5), (f"dark {first['colour']}", 3), (other, 2))),
    ]  # fmt: skip


def vqav2() -> None:
    head = {"info": {"description": "fixture", "version": "2.0"}, "task_type": "Open-Ended",
            "data_type": "mscoco", "license": {"name": "CC0"}}  # fmt: skip
    splits = {
        "train2014": (400101, 2),
        "val2014": (400201, 2),
        "test-dev2015": (400301, 2),
        "test2015": (400301, 3),
    }
    for split, (first, images) in splits.items():
        questions, annotations = [], []
        for image in range(first, first + images):
            for i, (question, question_type, answer_type, given) in enumerate(questions_of(Scene(image))):
                key = {"image_id": image, "question_id": image * 1000 + i}
                questions.append(key | {"question": question})
                annotations.append(
                    key | {"question_type": question_type, "answer_type": answer_type, "answers": given,
                           "multiple_choice_answer": given[0]["answer"]}
                )  # fmt: skip
        head["data_subtype"] = split
        write(f"vqav2/v2_OpenEnded_mscoco_{split}_questions.json", head | {"questions": questions})
        if not split.startswith("test"):
            write(f"vqav2/v2_mscoco_{split}_annotations.json", head | {"annotations": annotations})


def okvqa() -> None:
    """Five answers each given twice; `answer` is the stem of `raw_answer`."""
    known = [
        ("What could you do with the object in front on a beach?", "one", ["playing", "playing", "throw"]),
        ("Which sport uses a thing of this shape?", "five", ["racing", "race", "golf"]),
        ("What material are such things often made of?", "two", ["plastic", "plastic", "wood"]),
        ("Who would like to be given these?", "eight", ["children", "children", "kids"]),
    ]
    stems = {"playing": "play", "racing": "race", "plastic": "plastic", "children": "children", "kids": "kid"}
    for split, first in (("train2014", 400101), ("val2014", 400201)):
        questions, annotations = [], []
        for i, (question, question_type, raw) in enumerate(known):
            key = {"image_id": first + i, "question_id": (first + i) * 10 + 5}
            given = []
            for j, text in enumerate([raw[n] for n in (0, 0, 1, 1, 0, 0, 2, 2, 1, 1)]):
                given.append({"answer_id": j + 1, "raw_answer": text, "answer_confidence": "yes",
                              "answer": stems.get(text, text)})  # fmt: skip
            questions.append(key | {"question": question})
            annotations.append(
                key
                | {"question_type": question_type, "answer_type": "other", "answers": given, "confidence": 5}
            )
        head = {"info": {"description": "fixture", "version": "1.0"}, "license": {"name": "CC BY 4.0"},
                "data_type": "mscoco", "data_subtype": split, "task_type": "Open-Ended"}  # fmt: skip
        write(f"okvqa/OpenEnded_mscoco_{split}_questions.json", head | {"questions": questions})
        kinds = {"one": "Vehicles and Transportation", "two": "Brands, Companies and Products",
                 "five": "Sports and Recreation", "eight": "People and Everyday life"}  # fmt: skip
        write(f"okvqa/mscoco_{split}_annotations.json",
              head | {"annotations": annotations, "question_types": kinds})  # fmt: skip


def aokvqa() -> None:
    for split, first, count in (("train", 400101, 4), ("val", 400201, 4), ("test", 400301, 2)):
        rows = []
        for i in range(count):
            scene = Scene(first + i)
            right = scene.first["shape"]
            choices = [s for s in ("sphere", "cube", "cylinder", "cone") if s != right]
            choices.insert(i % 4, right)
            row = {
                "split": split, "image_id": first + i, "question_id": f"fixture{split}{i:02d}",
                "question": f"What could one call the {scene.first['colour']} object?", "choices": choices,
            }  # fmt: skip
            if split != "test":
                given = [right] * 6 + ["object"] * 2 + ["toy", "thing"]
                row |= {"correct_choice_idx": i % 4, "direct_answers": given,
                        "difficult_direct_answer": i == 3,
                        "rationales": [f"It has the form of a {right}.", "One sees its outline.",
                                       "The shape can be told from the edges."]}  # fmt: skip
            else:
                row["difficult_direct_answer"] = False
            rows.append(row)
        write(f"aokvqa/aokvqa_v1p0_{split}.json", rows)


def vizwiz() -> None:
    for split, first in (("train", 500), ("val", 600), ("test", 700)):
        rows = []
        for i in range(4):
            scene, name = Scene(first + i), f"VizWiz_{split}_{first + i:08d}.jpg"
            scene.save(f"vizwiz/{split}/{name}")
            question, kind, given = [
                (f"What is the color of this {scene.first['shape']}?", "other",
                 answers((scene.first["colour"], 7), ("unsuitable", 3))),
                (f"Is this a {scene.first['shape']}?", "yes/no", answers(("yes", 10))),
                ("What does the label say?", "unanswerable", answers(("unanswerable", 8), ("no label", 2))),
                ("How many of them do you see please?", "number",
                 answers((str(len(scene.things)), 6), ("unanswerable", 4))),
            ][i]  # fmt: skip
            row = {"image": name, "question": question}
            if split != "test":
                row |= {"answers": [{k: a[k] for k in ("answer", "answer_confidence")} for a in given],
                        "answer_type": kind, "answerable": int(kind != "unanswerable")}  # fmt: skip
            rows.append(row)
        write(f"vizwiz/Annotations/{split}.json", rows)


# -------------------------------------------------------------------------------------- GQA


def gqa() -> None:
    """Question 0 (query) entails question 1 (verify); question 2 stands alone."""
    splits = {"train": (2400000, 6), "val": (2400100, 6), "testdev": (2400200, 6), "test": (2400300, 3)}
    for split, (first, questions) in splits.items():
        rows, choices = {}, {}
        for i in range(questions):
            image = str(first + i // 3)
            scene, number = Scene(first + i // 3), i % 3
            if number == 0:
                scene.save(f"gqa/images/{image}.jpg")
            first_thing, ids = scene.first, [f"{int(image) * 10 + k:08d}" for k in range(3)]
            question, answer, full, types, group = [
                (f"What color is the {first_thing['shape']} on the floor?", first_thing["colour"],
                 f"The {first_thing['shape']} is {first_thing['colour']}.",
                 {"detailed": "color", "semantic": "attr", "structural": "query"}, "color"),
                (f"Is the {first_thing['shape']} {first_thing['colour']}?", "yes",
                 f"Yes, the {first_thing['shape']} is {first_thing['colour']}.",
                 {"detailed": "colorVerify", "semantic": "attr", "structural": "verify"}, None),
                (f"Is the thing large or small, the {first_thing['shape']}?", first_thing["size"],
                 f"It is {first_thing['size']}.",
                 {"detailed": "sizeChoose", "semantic": "attr", "structural": "choose"}, "size"),
            ][number]  # fmt: skip
            row = {"imageId": image, "question": question, "isBalanced": True}
            if split != "test":
                row |= {
                    "semantic": [{"operation": "select", "dependencies": [], "argument": "toy (1)"}],
                    "entailed": [ids[1]] if number == 0 else [], "equivalent": [ids[number]], "types": types,
                    "answer": answer, "fullAnswer": full, "semanticStr": "select: toy (1)",
                    "groups": {"global": group, "local": f"14-{first_thing['shape']}_{number}"},
                    "annotations": {"question": {"4": "1"}, "answer": {}, "fullAnswer": {"1": "1"}},
                }  # fmt: skip
                colours = ["red", "green", "blue", first_thing["colour"]]
                scope = [colours, ["yes", "no"], ["large", "small"]][number]
                choices[ids[number]] = {"valid": scope, "plausible": scope[-2:]}
            rows[ids[number]] = row
        write(f"gqa/{split}_balanced_questions.json", rows)
        if choices and split != "train":  # theirs are for scoring
            write(f"gqa/{split}_choices.json", choices)


# --------------------------------------------------------------------------------- reasoning


def nlvr2() -> None:
    """Two pairs for each of two sentences, so that consistency differs from accuracy."""
    for split in ("train", "dev", "test1"):
        rows = []
        for sentence in range(2):
            for pair in range(2):
                stem, number = f"{split}-{sentence}-{pair}", sentence * 2 + pair
                folder = f"images/train/{number}" if split == "train" else split
                sides = [Scene(3000 + 10 * number + side) for side in range(2)]
                for side, scene in enumerate(sides):
                    scene.save(f"nlvr2/{folder}/{stem}-img{side}.png")
                said = Scene(3000 + 10 * sentence * 2).named
                true = any(f"{t['colour']} {t['shape']}" == said for s in sides for t in s.things)
                row = {
                    "validation": {"1": str(true)}, "sentence": f"At least one image has a {said}.",
                    "left_url": "https://example.org/left.png", "writer": "7", "label": str(true),
                    "identifier": f"{stem}-0", "extra_validations": {}, "synset": "toy",
                    "query": "toys on a floor", "right_url": "https://example.org/right.png",
                }  # fmt: skip
                rows.append(row | ({"directory": number} if split == "train" else {}))
        write_lines(f"nlvr2/nlvr2/data/{split}.json", rows)


def snli_ve() -> None:
    """The test split has the key as the authors' generator writes it, the others as most copies."""
    labels = ("entailment", "neutral", "contradiction")
    for split, first in (("train", 1000), ("dev", 1010), ("test", 1020)):
        rows = []
        for i in range(2):
            image, scene = 7100000 + first + i, Scene(first + i)
            scene.save(f"flickr30k/flickr30k-images/{image}.jpg")
            said = [f"A {scene.named} is on the floor.", f"The {scene.named} is a present for a child.",
                    "Nothing is on the floor."]  # fmt: skip
            for j, (label, hypothesis) in enumerate(zip(labels, said, strict=True)):
                parse = f"( {hypothesis} )"
                rows.append({
                    "annotator_labels": [label] * 4 + ["neutral"], "captionID": f"{image}.jpg#0",
                    "gold_label": label, "pairID": f"{image}.jpg#0r{j + 1}{label[0]}",
                    "sentence1": scene.captions[0], "sentence1_binary_parse": "( )", "sentence1_parse": "( )",
                    "sentence2": hypothesis, "sentence2_binary_parse": parse, "sentence2_parse": parse,
                    **({"Flikr30kID": f"{image}.jpg"} if split == "test" else {"Flickr30K_ID": str(image)}),
                })  # fmt: skip
        write_lines(f"snli_ve/snli_ve_{split}.jsonl", rows)


def violin() -> None:
    """Frames of a clip stand in a folder of the clip's name."""
    clips = {}
    for split, first, count in (("train", 40, 2), ("validate", 42, 1), ("test", 43, 1)):
        for number in range(first, first + count):
            name = f"movieclips_fixture_{number:02d}"
            scenes = [Scene(9000 + 10 * number + k) for k in range(4)]
            for k, scene in enumerate(scenes):
                scene.save(f"violin/videos/{name}/{k:04d}.jpg")
            first_seen, last_seen = scenes[0].named, scenes[-1].named
            clips[name] = {
                "file": name, "source": f"fixture{number}", "span": [0.0, 12.5], "split": split,
                "sub": [["Look at the floor.", 0.5, 2.0], ["I moved all of them.", 3.0, 4.75],
                        ["Put them back, please.", 8.0, 9.5]],
                "statement": [
                    [f"A {first_seen} can be seen at first.", "Nothing can be seen at first."],
                    ["The man asks for things to be put back.", "The man asks for things to be thrown away."],
                    [f"In the end there is a {last_seen}.", "In the end the floor is empty."],
                ],
            }  # fmt: skip
    write("violin/violin_annotation.json", clips)


def vcr() -> None:
    """Tokens are words or lists of indices into `objects`; boxes are x1, y1, x2, y2, score."""
    for split, first in (("train", 60), ("val", 70)):
        rows = []
        for i in range(4):
            scene = Scene(first + i)
            stem = f"fixture_{split}/{first + i:04d}@0"
            scene.save(f"vcr/vcr1images/{stem}.jpg")
            boxes = [t["box"] for t in scene.things]
            names = ["person" if k % 2 == 0 else "cup" for k in range(len(scene.things))]
            write(f"vcr/vcr1images/{stem}.json", {
                "boxes": [[*box, 0.99] for box in boxes], "names": names, "width": 80, "height": 80,
                "segms": [[[[b[0], b[1]], [b[2], b[1]], [b[2], b[3]]]] for b in boxes],
            })  # fmt: skip
            other = [min(1, len(names) - 1)]
            choices = [
                [[0], "is", "about", "to", "fall", "."],
                [[0], "wants", "to", "drink", "."],
                ["Because", [0], "and", [0, *other], "are", "friends", "."],
                ["No", "one", "knows", "."],
            ]
            reasons = [[other, "is", "near", [0], "."], ["It", "is", "a", "party", "."],
                       [[0], "looks", "up", "."], ["They", "do", "n't", "move", "."]]  # fmt: skip
            rows.append({
                "movie": f"fixture_{split}", "objects": names, "interesting_scores": [0, 0, 1],
                "answer_likelihood": "likely", "img_fn": f"{stem}.jpg", "metadata_fn": f"{stem}.json",
                "question_orig": "Why is 1 here?", "question": ["Why", "is", [0], "here", "?"],
                "answer_orig": "fixture", "rationale_orig": "fixture", "answer_choices": choices,
                "answer_label": i % 4, "rationale_choices": reasons, "rationale_label": (i + 1) % 4,
                "answer_match_iter": [0, 1, 2, 3], "rationale_match_iter": [0, 1, 2, 3],
                "answer_sources": [i, 1, 2, 3], "rationale_sources": [i, 1, 2, 3],
                "img_id": f"{split}-{i}", "question_number": 0, "annot_id": f"{split}-{i}",
                "match_fold": f"{split}-0", "match_index": i,
            })  # fmt: skip
        write_lines(f"vcr/{split}.jsonl", rows)


# ---------------------------------------------------------------------------------- dialogue


def visdial() -> None:
    """Texts stand in two lists; dialogs hold their numbers. 100 options a round; one round a dialog of the
    validation split has relevances; a test dialog ends with the round that is asked."""
    said = [f"it is number {i}" for i in range(120)]
    said[:6] = ["yes", "no", "a few", "i can't tell", "it is red", "it is on the floor"]
    asked = ["is it indoors", "how many things are there", "what color is the first one", "where is it"]
    folders = {
        split: f"visdial/VisualDialog_{split}2018/VisualDialog_{split}2018" for split in ("val", "test")
    }
    for split, first in (("train", 400101), ("val", 450201), ("test", 450301)):
        dialogs, dense = [], []
        for i in range(4 if split == "test" else 2):
            image, scene = first + i, Scene(first + i)
            if split != "train":
                scene.save(f"{folders[split]}_{image:012d}.jpg")
            rounds = []
            for k in range(10 if split != "test" else 3 + i):
                right = (k + i) % 6
                options = [(right + 7 * n) % 120 for n in range(100)]
                options = [options[n] for n in range(1, 100)]
                place = (13 * k + 5) % 100
                options.insert(place, right)
                turn = {"question": k % 4, "answer": right, "answer_options": options, "gt_index": place}
                if split == "test":
                    kept = ("question", "answer_options") if k == 2 + i else ("question", "answer")
                    turn = {key: turn[key] for key in kept}
                rounds.append(turn)
            dialogs.append({"image_id": image, "caption": scene.captions[0], "dialog": rounds})
            if split == "val":
                number = 3 + i
                relevance = [0.0] * 100
                place = rounds[number - 1]["gt_index"]
                relevance[place], relevance[(place + 1) % 100], relevance[(place + 50) % 100] = 1.0, 0.5, 0.25
                dense.append({"image_id": image, "round_id": number, "gt_relevance": relevance})
        data = {"questions": asked, "answers": said, "dialogs": dialogs}
        name = split if split == "train" else f"{split}2018"
        write(f"visdial/visdial_1.0_{split}.json", {"version": "1.0", "split": name, "data": data})
        if dense:
            write("visdial/visdial_1.0_val_dense_annotations.json", dense)


def main() -> None:
    for make in (
        coco_pictures,
        vqav2,
        okvqa,
        aokvqa,
        vizwiz,
        gqa,
        nlvr2,
        snli_ve,
        violin,
        vcr,
        visdial,
    ):
        make()


if __name__ == "__main__":
    main()

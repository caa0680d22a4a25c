"""Free prompts and tasks' fields as examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unified.errors import UserError
from unified.serving.asking import Asker, to_image
from unified.specs.load import LoadedTask, load_task
from unified.specs.schema import TaskSpec
from unified.values.types import Boxes, Image


def task(name, prompt, target, images=1, fields=None, options=None, **target_keys):
    names = [f"image_{i}" for i in range(images)] if images != 1 else ["image"]
    return LoadedTask.of(
        TaskSpec.model_validate(
            {
                "task": name,
                "source": {"type": "jsonl", "splits": {}},
                "fields": {n: {"type": "image"} for n in names}
                | (fields or {})
                | {"answer": {"type": target}},
                "input": {"images": names, "prompt": prompt},
                "target": {"field": "answer", **target_keys},
                "options": options,
            }
        ),
        path=Path("t.yaml"),
    )


QUESTION = {"question": "q"}
BOX = {"box": {"path": "bbox", "format": "xywh"}}
TASKS = {
    t.name: t
    for t in [
        task(
            "toy_refer", ["Where is {{ phrase }} ?", "Find {{ phrase }} ."], "boxes", fields={"phrase": "e"}
        ),
        task("toy_vqa", ["{{ question }}"], "text", fields=QUESTION, options={"choices": ["1", "2"]}),
        task("toy_depth", ["What is the depth map ?"], "depth", value_range=[0, 10]),
        task("toy_region", ["What is in {{ box }} ?"], "label", fields=BOX),
        task("toy_pair", ["Same ?"], "label", images=2, options={"choices": ["yes", "no"]}),
        task(
            "toy_choice",
            ["{{ question }} Choose ."],
            "text",
            fields={**QUESTION, "choices": {"type": "texts"}},
            options={"field": "choices"},
        ),
    ]
}
PHOTO = np.full((20, 40, 3), 7, np.uint8)


@pytest.fixture
def asker():
    return Asker(TASKS, image_size=64, target_size=32)


def words(question):
    return [p if isinstance(p, str) else type(p).__name__ for p in question.example.prompt]


def test_a_task_by_name_or_ending(asker):
    assert asker.find("toy_refer") is asker.find("refer") is TASKS["toy_refer"]
    assert asker.find("efer") is None and asker.find("nothing") is None
    longer = {name: task(name, ["a"], "label") for name in ("x_grounded_refer", "y_refer", "z_refer")}
    assert (
        Asker({**TASKS, "x_grounded_refer": longer["x_grounded_refer"]}, image_size=8, target_size=8).find(
            "refer"
        )
        is TASKS["toy_refer"]
    )
    assert Asker(longer, image_size=8, target_size=8).find("refer") is None


def test_task_question(asker):
    question = asker.task("refer", [PHOTO], {"phrase": "the red cube"})
    assert words(question) == ["Where is the red cube ?"]
    assert question.known_as == "toy_refer" and question.task.spec.modality == "boxes"
    assert question.example.images[0].size == (40, 20)
    assert question.example.target == ()


def test_places_in_pixels(asker):
    question = asker.task("region", [PHOTO], {"box": "10 5 20 15"})
    assert words(question) == ["What is in", "Boxes", "?"] or words(question) == [
        "What is in ",
        "Boxes",
        " ?",
    ]
    box = next(p for p in question.example.prompt if isinstance(p, Boxes))
    np.testing.assert_allclose(box.xyxy, [[16, 8, 32, 24]])  # 40 px wide -> 64, not xywh as in the data
    for given in ([[10, 5, 20, 15]], np.array([[10, 5, 20, 15.0]]), Boxes(np.array([[10.0, 5, 20, 15]]))):
        again = next(
            p for p in asker.task("region", [PHOTO], {"box": given}).example.prompt if isinstance(p, Boxes)
        )
        np.testing.assert_allclose(again.xyxy, box.xyxy)


def test_options_given_as_a_field(asker):
    question = asker.task("choice", [PHOTO], {"question": "which ?", "choices": "a thing|another"})
    assert question.example.options == ("a thing", "another")
    assert asker.task("choice", [PHOTO], {"question": "which ?"}).example.options is None  # anything goes


def test_the_folder_of_the_training_data_is_not_needed(monkeypatch):
    monkeypatch.delenv("UNIFIED_DATA", raising=False)
    trained = load_task("sample_coco_refer")
    asker = Asker({trained.name: trained}, image_size=64, target_size=64)
    question = asker.task("refer", [np.zeros((40, 60, 3), np.uint8)], {"phrase": "a train"})
    assert "a train" in "".join(words(question))


@pytest.mark.parametrize(
    ("name", "images", "fields", "message"),
    [
        ("refer", [PHOTO], {}, r"missing: phrase \(text\)"),
        ("refer", [], {"phrase": "x"}, r"missing: image \(image\)"),
        ("refer", [PHOTO], {"phrse": "x"}, "unknown field 'phrse' .*did you mean 'phrase'"),
        ("refer", [PHOTO, PHOTO], {"phrase": "x"}, "2 images given, it takes 1"),
        ("toy_refr", [PHOTO], {}, "no task 'toy_refr' .*did you mean 'toy_refer'"),
        ("region", [PHOTO], {"box": "left"}, "is not a place; write pixels of the image as: x1 y1 x2 y2"),
        ("region", [PHOTO], {"box": "1 2 3"}, "is not a place"),
    ],
)
def test_mistakes(asker, name, images, fields, message):
    with pytest.raises(UserError, match=message):
        asker.task(name, images, fields)


def test_free_prompt_in_a_tasks_words_follows_its_rules(asker):
    question = asker.freely("find the  red cube.", [PHOTO], None)
    assert question.known_as == "toy_refer"
    assert words(question) == ["Find the  red cube ."] or words(question) == ["Find the red cube ."]
    assert asker.freely("What is the depth map?", [PHOTO], None).task.spec.target.value_range == (0, 10)
    assert asker.freely("Same ?", [PHOTO, PHOTO], None).example.options == ("yes", "no")


def test_the_most_specific_template_wins(asker):
    assert asker.match("Where is the cube ?", 1)[0].name == "toy_refer"  # not the bare {{ question }}


def test_a_place_in_a_free_prompt(asker):
    question = asker.freely("What is in 10 5 20 15 ?", [PHOTO], None)
    assert question.known_as == "toy_region" and "Boxes" in words(question)
    assert asker.freely("What is in the box ?", [PHOTO], None).known_as is None


def test_other_prompts_are_text_without_options(asker):
    question = asker.freely("how many things ?", [PHOTO], None)  # a bare {{ question }} matches nothing
    assert question.known_as is None and question.example.options is None
    assert question.task.spec.modality == "text"
    assert words(question) == ["how many things ?"]
    # as many images as the task takes, or it is not that task
    assert asker.freely("What is the depth map ?", [PHOTO, PHOTO], None).known_as is None
    assert asker.freely("no image at all", [], None).example.images == ()


def test_braces_in_a_prompt_are_text(asker):
    assert words(asker.freely("{{ phrase }} {% if %}", [PHOTO], None)) == ["{{ phrase }} {% if %}"]


def test_target_of_a_free_prompt(asker):
    question = asker.freely("how far is it all ?", [PHOTO], "depth")
    assert question.task.spec.modality == "depth" and question.task.spec.target.value_range == (0, 10)
    assert question.example.target_geometry is not None
    assert asker.freely("Find the cube .", [PHOTO], "text").known_as is None  # refer answers with boxes
    with pytest.raises(UserError, match="no task of this model answers so; it knows boxes, depth"):
        asker.freely("x", [PHOTO], "normals")
    with pytest.raises(UserError, match="did you mean 'boxes'"):
        asker.freely("x", [PHOTO], "boxs")
    with pytest.raises(UserError, match="prompt is empty"):
        asker.freely("  ", [], None)


def test_questions_are_compiled_once(asker):
    first = asker.freely("a", [PHOTO], None).task
    assert asker.freely("b", [PHOTO], None).task is first
    assert (
        asker.task("refer", [PHOTO], {"phrase": "a"}).task
        is asker.task("refer", [PHOTO], {"phrase": "b"}).task
    )


def test_images_from_anything(tmp_path):
    path = tmp_path / "p.png"
    PIL.Image.fromarray(PHOTO).save(path)
    for given in (path, str(path), path.read_bytes(), PIL.Image.open(path), PHOTO, Image(PHOTO)):
        np.testing.assert_array_equal(to_image(given).pixels, PHOTO)
    (tmp_path / "broken.png").write_bytes(path.read_bytes()[:60])
    for bad in (tmp_path / "broken.png", tmp_path / "absent.png", b"no image"):
        with pytest.raises(UserError, match="image:"):
            to_image(bad)

"""Forms of tasks, and scenes that fill them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified.errors import UserError
from unified.serving.app.forms import Form, read_images
from unified.serving.app.scenes import SHOWN, SIDE, examples, scene, typed
from unified.serving.uploads import Limits
from unified.sources.open import open_source
from unified.specs.load import LoadedTask
from unified.specs.schema import TaskSpec
from unified.values.types import Boxes, Label, Number, Points, Texts


def form(fields, prompt, images=("image",)):
    spec = TaskSpec.model_validate(
        {"task": "t", "fields": {"image": None, "answer": None, **fields},
         "input": {"images": list(images), "prompt": prompt}, "target": {"field": "answer"}}
    )  # fmt: skip
    return Form.of(LoadedTask.of(spec, Path("t.yaml")))


def test_the_form_of_a_task(pipe):
    refer = Form.of(pipe.tasks["toybox_refer"])
    assert [b.name for b in refer.pictures] == ["image"] and [b.name for b in refer.texts] == ["phrase"]
    assert not refer.lists
    assert 'Which region does the text "{{ phrase }}" describe ?' in refer.about and "boxes" in refer.about
    assert "1, 2, 3, 4, 5" in Form.of(pipe.tasks["toybox_vqa_count"]).about
    (box,) = Form.of(pipe.tasks["toybox_segment_box"]).texts
    assert box.label == "box (boxes)" and box.hint == "x1 y1 x2 y2 in pixels of the image"


def test_closed_lists_and_what_nobody_types():
    fields = {
        "size": {"map": {"0": "small", "1": "large", "2": "large"}},
        "kind": {"type": "label", "names": ["cat", "dog"]},
        "name": None,
    }
    made = form(fields, "{{ size }} {{ kind }} {{ name }}")
    assert {b.name: b.choices for b in made.lists} == {"size": ("small", "large"), "kind": ("cat", "dog")}
    assert [b.name for b in made.texts] == ["name"]
    assert form({"figure": {"type": "keypoints", "names": ["nose"]}}, "Who is {{ figure }} ?") is None


def test_a_form_is_read(upload):
    made = form({"kind": {"type": "label", "names": ["cat", "dog"]}, "name": None}, "{{ kind }} {{ name }}")
    fields = made.read([upload(), "never-read.png"], ["Tom", "cat"], Limits())
    assert fields.pop("image").size == (128, 96) and fields == {"name": "Tom", "kind": "cat"}
    assert made.read([None], [" ", None], Limits()) == {}
    with pytest.raises(UserError, match="image: the upload is gone"):
        made.read(["/nowhere/a.png"], [], Limits())
    assert [image.size for image in read_images([None, upload(), None], Limits())] == [(128, 96)]


def test_maps_are_read_as_numbers(upload, pipe):
    made = Form.of(pipe.tasks["toybox_segmentation_to_image"])
    picture = scene(made, 0).pictures["segmentation"]
    read = made.read([upload(picture)], [], Limits())["segmentation"]
    assert read.shape == (SIDE, SIDE) and 0 < read.max() <= 8 and (read == np.array(picture)).all()


def test_values_as_they_are_typed():
    assert typed(Boxes(np.array([[1, 2, 3, 4.4], [5, 6, 7, 8]]))) == "1 2 3 4  5 6 7 8"
    assert typed(Points(np.array([[1.5, 2]]))) == "2 2"
    assert typed(Texts(("a", "b c"))) == "a | b c"
    assert (typed(Label("cat")), typed(Number(2.5))) == ("cat", "2.5")


def test_examples_are_of_tasks_that_the_model_knows(pipe):
    forms = {name: Form.of(task) for name, task in pipe.tasks.items()}
    assert [forms[name].task.spec.source.kind for name in examples(forms)] == list(SHOWN)
    few = {name: forms[name] for name in ("toybox_depth", "toybox_mood")}
    assert list(examples(few)) == ["toybox_depth"] and examples({}) == {}


def test_boxes_of_scenes_are_understood(pipe):
    """Location ids between the pixels that the model was trained on would give a third of these."""
    made = Form.of(pipe.tasks["toybox_classify_region"])
    looks = [
        row["scene"]["things"][0] for row in map(open_source(made.task, "validation").__getitem__, range(20))
    ]
    answers = [
        pipe.ask(made.task.name, (), {**f.pictures, **f.words}).text
        for f in (scene(made, i) for i in range(20))
    ]
    right = [a == f"{k['colour']} {k['shape']}" for a, k in zip(answers, looks, strict=True)]
    assert sum(right) >= 15


def test_scenes_are_fresh(pipe):
    made = Form.of(pipe.tasks["toybox_vqa_colour"])
    drawn = {scene(made).pictures["image"].tobytes() for _ in range(4)}
    assert len(drawn) > 1 and scene(made, 5) == scene(made, 5)
    assert isinstance(scene(made).pictures["image"], Image.Image)

"""The tasks of the official models: exact prompts and ids, lengths, decoding; tasks without rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.evaluator import evaluate
from unified.serving.asking import Asker
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.check import check_tasks
from unified.specs.lint import lint_task
from unified.specs.load import list_tasks, load_mixture, load_task
from unified.specs.specimen import specimen
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.types import Image

ASSETS = Path(__file__).parents[1] / "assets" / "unified_io"
IDS = json.loads((ASSETS / "prompt_token_ids.json").read_text())
LOADED = [load_task(path) for path in list_tasks() if path.parent.name == "unified_io"]
TASKS = {task.name.removeprefix("unified_io_"): task for task in LOADED}
REGION = "<extra_id_350> <extra_id_453> <extra_id_593> <extra_id_843>"
PERSON = "<extra_id_274> <extra_id_101> <extra_id_931> <extra_id_515>"
WIDE, TALL = (640, 426), (425, 640)
BOX, PERSON_BOX = [226.56, 160.64, 476.16, 316.16], [1, 112, 266, 533]
RUNNER = {
    # method: (fields, the official prompt, text tokens of the answer or None for an image, samples)
    "caption": ({}, "What does the image describe ?", 32, False),
    "vqa": ({"question": "What color is the sofa?"}, "what color is the sofa?", 32, False),
    "refexp": ({"phrase": "bed"}, 'Which region does the text " bed " describe ?', 32, False),
    "object_localization": ({"phrase": "bed"}, 'Which region does the text " bed " describe ?', 32, False),
    "region_caption": ({"box": [BOX]}, f'What does the region " {REGION} " describe ?', 32, False),
    "region_classification": ({"box": [BOX]}, f'What is the category of region " {REGION} " ?', 32, False),
    "image_classification": ({}, "What is this in the image ?", 32, False),
    "pose": ({"box": [PERSON_BOX]}, f'Find the human joints in the region " {PERSON} " .', 128, True),
    "depth": ({}, "What is the depth map of the image ?", None, True),
    "surface_normal": ({}, "What is the surface normal of the image ?", None, True),
    "object_segmentation": ({"phrase": "painting"}, 'What is the segmentation of " painting " ?', None, True),
    "image_generation": (
        {"caption": "A horse in a grassy field."},
        'What is the complete image? Text: " A horse in a grassy field. " .', None, True,
    ),
    "image_inpainting": (
        {"box": [BOX], "phrase": "table"}, f'Filling the blank region " {REGION} table " ?', None, True,
    ),
    "segmentation_based_generation": (
        {"colours": "Penguin : white"},
        'What is the complete image? Segmentation color: " penguin : white "', None, True,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def processor():
    return Processor(
        TokenizerSet.load("unified_io", image_weights=False), image_size=384, patch_size=16, target_size=256,
        max_input_length=256, max_target_length=256,
    )  # fmt: skip


@pytest.fixture(scope="module")
def asker():
    return Asker({task.name: task for task in TASKS.values()}, image_size=384, target_size=256)


def picture(size):
    return Image(np.zeros((size[1], size[0], 3), dtype=np.uint8))


def question(asker, method, fields, size):
    images = [picture(size)] * len(TASKS[method].spec.input.images)
    return asker.task(method, images, fields)


@pytest.mark.parametrize("method", RUNNER)
def test_a_method_of_the_official_runner(method, asker, processor):
    fields, prompt, tokens, samples = RUNNER[method]
    asked = question(asker, method, fields, TALL if method == "pose" else WIDE)
    task = asked.task
    assert task.name == f"unified_io_{method}"
    ids = processor.encode(asked.example, task).input_ids.tolist()
    assert ids == IDS[prompt]
    spec = task.spec
    assert spec.input.max_tokens == 64
    assert processor.max_new_tokens(task) == (258 if tokens is None else tokens)
    generation = spec.generation
    wanted = (True, 0.9, 1.0, 0) if samples else (False, 1.0, 1.0, 0)
    assert (generation.do_sample, generation.top_p, generation.temperature, generation.top_k) == wanted
    assert (generation.num_beams, generation.guidance_scale) == (1, 1.0)


def test_every_task_is_sound_and_has_words_of_its_own():
    assert set(TASKS) >= set(RUNNER) and len(TASKS) == 29
    report = check_tasks([t.path for t in TASKS.values()])
    assert not report.problems
    for task in TASKS.values():
        own = task.spec.input.prompt[1:]
        assert len(own) >= 3 and len({p.weight for p in task.spec.input.prompt}) > 1
        assert len(task.spec.tags) == 2 and task.spec.checks
        if task.name.removeprefix("unified_io_").removesuffix("_options") in RUNNER:
            assert "Runner method `" in task.spec.description.replace("\n", " ")
        else:
            assert "unverified provenance" in task.spec.description


@pytest.mark.parametrize("name", TASKS)
def test_prompts_and_targets_become_tokens(name, processor):
    task = TASKS[name]
    example = build_example(
        task, specimen(task.spec, np.random.default_rng(0)), key="k", rng=np.random.default_rng(0),
        training=False, image_size=384, target_size=256,
    )  # fmt: skip
    encoded = processor.encode(example, task)
    assert encoded.truncated == 0 and encoded.input_ids[-1] == 1
    text = processor.parse_text(encoded.input_ids)
    assert all(isinstance(part, str) or len(part) for part in text)
    if isinstance(example.target, tuple):
        assert processor.grammar(task, example).accepts(encoded.target_ids.tolist())


def test_a_long_prompt_is_cut_as_the_runner_cuts_it(asker, processor):
    asked = question(asker, "caption", {}, WIDE)
    long = question(asker, "refexp", {"phrase": "bed " * 100}, WIDE)
    assert processor.encode(asked.example, asked.task).truncated == 0
    encoded = processor.encode(long.example, long.task)
    assert len(encoded.input_ids) == 64 and encoded.input_ids[-1] == 1 and encoded.truncated > 0


def test_options_are_ranked(asker, processor):
    for method, fields in (("image_classification", {}), ("region_classification", {"box": [BOX]})):
        asked = question(asker, f"{method}_options", fields | {"options": ["cat", "dog"]}, WIDE)
        assert asked.example.options == ("cat", "dog") and asked.task.spec.options.decode == "rank"
        free = question(asker, method, fields, WIDE)
        ids = [processor.encode(q.example, q.task).input_ids.tolist() for q in (asked, free)]
        assert ids[0] == ids[1] and free.example.options is None


# --------------------------------------------------------------------------- boxes, labels or not


@pytest.mark.parametrize(
    ("written", "labels", "whole"),
    [
        ([REGION], None, True),
        ([REGION, " bed"], ("bed",), True),
        ([REGION, " bed", PERSON, " hotel room"], ("bed", "hotel room"), True),
        ([REGION, PERSON], None, True),
        ([REGION, PERSON, " bed"], ("", "bed"), True),
        (["bed ", REGION], None, False),
    ],
)
def test_boxes_with_optional_labels(written, labels, whole, asker, processor):
    asked = question(asker, "refexp", {"phrase": "bed"}, (640, 640))
    ids = [i for part in written for i in processor.tokenizers.text.encode(part, strict=True)]
    value, malformed = processor.decode(asked.task, [*ids, 1], None, asked.example)
    assert value.labels == labels and malformed is not whole
    np.testing.assert_allclose(value.xyxy[0], BOX)
    assert processor.grammar(asked.task, asked.example).accepts([*ids, 1]) is whole


def test_free_prompts_are_answered_with_boxes_of_the_same_form(asker, processor):
    free = asker.freely("Where is it?", [picture(WIDE)], "boxes")
    ids = processor.tokenizers.text.encode(REGION, strict=True)
    value, malformed = processor.decode(free.task, [*ids, 1], None, free.example)
    np.testing.assert_allclose(value.xyxy, [BOX])
    assert value.labels is None and not malformed


def test_locations_come_back_at_the_official_places_in_an_image_that_is_not_square(asker, processor):
    """426 rows become int(255.6) = 255, but a location is placed by the exact ratio."""
    for row in json.loads((ASSETS / "locations.json").read_text())["locations"]:
        size = (row["w"], row["h"])
        if row["ids"][:2] == row["ids"][2:]:
            continue  # a box without area is no box
        asked = question(asker, "region_caption", {"box": [row["box"]]}, size)
        ids = processor.encode(asked.example, asked.task).input_ids.tolist()
        assert [i for i in ids if 32000 <= i < 33000] == row["ids"]
        if row["decoded_xyxy"] != "ValueError":
            refer = question(asker, "refexp", {"phrase": "it"}, size)
            value, _ = processor.decode(refer.task, [*row["ids"], 1], None, refer.example)
            np.testing.assert_allclose(value.xyxy, np.minimum(row["decoded_xyxy"], [*size, *size]), atol=1e-6)


def test_joints_and_how_well_they_are_seen(asker, processor):
    asked = question(asker, "pose", {"box": [PERSON_BOX]}, TALL)
    marks = ["1", "2", "3"] + ["3"] * 14
    words = " ".join(f"<extra_id_{100 + 10 * i}> <extra_id_{100 + 5 * i}> {m}" for i, m in enumerate(marks))
    ids = [*processor.tokenizers.text.encode(words, strict=True), 1]
    assert processor.grammar(asked.task, asked.example).accepts(ids) and len(ids) <= 128
    value, malformed = processor.decode(asked.task, ids, None, asked.example)
    assert not malformed and value.names[0] == "nose" and value.xy.shape == (1, 17, 2)
    assert value.visibility[0].tolist() == [0, 1] + [2] * 15
    np.testing.assert_allclose(value.xy[0, 3], [16 * 0.64, 31 * 0.64])  # x, y; bin + 1, of 640 pixels


# ------------------------------------------------------------------------------ images come back


@pytest.mark.parametrize("method", ["depth", "surface_normal", "object_segmentation", "image_inpainting"])
def test_images_are_cut_to_what_is_not_padding_and_resized(method, asker, processor):
    asked = question(asker, method, RUNNER[method][0], WIDE)
    pixels = np.zeros((256, 256, 3), dtype=np.uint8)
    pixels[170:] = 255  # int(256 / 640 * 426) = 170 rows are not padding
    pixels[:170, 128:] = (255, 0, 0)
    value, _ = processor.decode(asked.task, [], pixels, asked.example)
    assert value.size == WIDE
    right = {
        "depth": lambda v: v.metres, "surface_normal": lambda v: v.vectors[..., 0],
        "object_segmentation": lambda v: v.classes, "image_inpainting": lambda v: v.pixels[..., 0],
    }[method](value)  # fmt: skip
    assert (right[:, 330:] == right[0, -1]).all() and (right[:, :310] == right[0, 0]).all()
    assert right[0, 0] != right[0, -1]
    if method == "object_segmentation":
        assert right[0, -1] == 2 and value.names[1] == "red"


def test_a_generated_image_comes_whole(asker, processor):
    asked = question(asker, "image_generation", RUNNER["image_generation"][0], WIDE)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    value, _ = processor.decode(asked.task, [], pixels, asked.example)
    np.testing.assert_array_equal(value.pixels, pixels)


# --------------------------------------------------------------------------- tasks without rows

ROWLESS = """task: nothing_to_read
fields: {image: image, caption: caption}
input: {images: [image], prompt: What is this ?}
target: {field: caption}
"""


def test_a_task_without_source_is_checked_and_asked_but_has_no_rows(tmp_path, monkeypatch):
    path = tmp_path / "rowless.yaml"
    path.write_text(ROWLESS)
    assert not check_tasks([path]).problems
    task = load_task(path)
    assert "source" not in task.resolved
    assert Asker({task.name: task}, image_size=64, target_size=64).task(task.name, [picture((9, 9))], {})
    with pytest.raises(UserError, match=r"'nothing_to_read' has no `source`"):
        open_source(task, "train")
    with pytest.raises(UserError, match=r"no `source`.*nothing_to_read"):
        evaluate(None, None, [task])
    path.write_text(ROWLESS + "source:\n")
    [problem] = lint_task(path).problems
    assert "rowless.yaml:5: source: is empty; leave the key out of a task" in str(problem)


def test_a_mixture_has_no_task_without_rows(tmp_path):
    (tmp_path / "rowless.yaml").write_text(ROWLESS)
    mix = tmp_path / "mix.yaml"
    mix.write_text("mixture: mix\ntasks: [rowless.yaml]\n")
    with pytest.raises(UserError, match="has no `source`: there is nothing to train on"):
        load_mixture(mix)
    mix.write_text("mixture: mix\ntasks: ['tag:unified_io']\n")
    with pytest.raises(UserError, match="no task with the tag 'unified_io' has a `source`"):
        load_mixture(mix)
    mix.write_text("mixture: mix\ntasks: ['tag:keypoints']\n")  # a tag brings those that have rows
    names = [entry.task.name for entry in load_mixture(mix).entries]
    assert "toybox_keypoints" in names and "unified_io_pose" not in names


def test_lint_of_what_only_these_tasks_use(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(
        "task: t\nfields:\n  image: image\n  other: {type: image}\n  box: box\n  phrase: phrase\n"
        "  parts: {type: segmentation, names: [a, b, c, d, e]}\n"
        "preprocess: [{hide_region: {image: other, region: box}}]\n"
        "input: {images: [image], prompt: What ?, max_tokens: 1}\n"
        "target: {field: parts, palette: unified_io}\n"
    )
    messages = "\n".join(str(p) for p in lint_task(path).problems)
    assert "max_tokens: must be at least 2, not 1" in messages
    assert "'other' is no input image" in messages
    assert "unified_io has four colours" in messages
    path.write_text(ROWLESS.replace("{field: caption}", "{field: caption, palette: unified_io}"))
    assert "palette: means nothing for a target of type text" in str(lint_task(path).problems[0])

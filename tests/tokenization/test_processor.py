from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unified.errors import UserError
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import BadRow, Example
from unified.specs.load import load_mixture, load_task
from unified.specs.schema import TaskSpec
from unified.specs.task import LoadedTask
from unified.tokenization.processor import Processor
from unified.values.types import (
    Boxes,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Number,
    Points,
    Segmentation,
    Text,
    Value,
)

TOYBOX = [entry.task for entry in load_mixture("toybox").entries]
DENSE = ("image", "mask", "segmentation", "depth", "normals")


@pytest.fixture(scope="module")
def processor(toy) -> Processor:
    return Processor(
        toy, image_size=64, patch_size=8, target_size=64, max_input_length=96, max_target_length=96
    )


def task(fields: dict[str, Any], target: dict[str, Any], *, prompt: str = "Go .", **more: Any) -> LoadedTask:
    spec = TaskSpec.model_validate({
        "task": "t", "source": {"type": "csv", "splits": {"train": "x.csv"}},
        "fields": {"image": {}, **fields},
        "input": {"images": ["image"], "prompt": prompt}, "target": target, **more,
    })  # fmt: skip
    return LoadedTask.of(spec, Path("t.yaml"))


def example_of(loaded: LoadedTask, *, size: tuple[int, int] = (96, 48), **values: Value) -> Example:
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return build_example(
        loaded, {"image": Image(image), **values}, key="row 1", rng=np.random.default_rng(0), training=False,
        image_size=64, target_size=64,
    )  # fmt: skip


def round_trip(processor: Processor, loaded: LoadedTask, example: Example) -> Value:
    """Encode the target, check that the grammar allows it, decode it."""
    ids = processor.encode(example, loaded).target_ids.tolist()
    assert ids[-1] == processor.tokenizers.vocabulary.eos_id
    assert processor.grammar(loaded, example).accepts(ids)
    value, malformed = processor.decode(loaded, ids, None, example)
    assert not malformed
    return value


# -------------------------------------------------------------------------- every toybox task


@pytest.mark.parametrize("loaded", TOYBOX, ids=lambda t: t.name)
def test_toybox_answers_come_back(loaded, processor):
    source = open_source(loaded, "validation")
    for i in range(3):
        values = read_fields(loaded, source[i], source)
        example = build_example(
            loaded, values, key=source.key(i), rng=np.random.default_rng(i), training=False,
            image_size=64, target_size=64,
        )  # fmt: skip
        encoded = processor.encode(example, loaded)
        assert encoded.truncated == 0 and encoded.input_ids[-1] == 1
        assert encoded.images.shape == (len(example.images), 64, 64, 3)
        unknown = processor.tokenizers.vocabulary.unk_id
        assert unknown not in encoded.input_ids and unknown not in encoded.target_ids
        if loaded.spec.modality in DENSE:
            assert encoded.target_ids.tolist() == [1] and encoded.target_code_mask.all()
            value, malformed = processor.decode(loaded, [], encoded.target_image, example)
            assert not malformed
            true = example.target
            if isinstance(true, Depth):
                low, high = loaded.spec.target.value_range
                assert np.abs(value.metres - true.metres.clip(low, high)).max() <= (high - low) / 510 + 1e-9
            elif isinstance(true, Normals):
                assert ((value.vectors * true.vectors).sum(-1) > 0.999).all()
            elif isinstance(true, Segmentation):
                assert np.array_equal(value.classes, true.classes) and value.names == true.names
            elif isinstance(true, Mask):
                assert np.array_equal(value.array, true.array)
            else:
                assert np.array_equal(value.pixels, true.pixels)
            continue
        value = round_trip(processor, loaded, example)
        tolerance = processor.tokenizers.locations.tolerance(64) * 1.001
        if isinstance(value, GroundedText):
            true = values[loaded.spec.target.field]
            assert (value.text, value.spans) == (true.text, true.spans)
            np.testing.assert_allclose(value.boxes.xyxy, true.boxes.xyxy, atol=tolerance)
        elif isinstance(value, Number):
            assert f"{value.value:.{loaded.spec.target.decimals}f}" == example.target[0]
        elif isinstance(value, Keypoints):
            true = values[loaded.spec.target.field]
            there = true.visibility > 0
            np.testing.assert_allclose(value.xy[there], true.xy[there], atol=tolerance)
            assert np.array_equal(value.visibility, true.visibility) and value.names == true.names
        elif isinstance(value, (Boxes, Points)):
            parts = [part for part in example.target if not isinstance(part, str)]
            name = "xyxy" if isinstance(value, Boxes) else "xy"
            true = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_allclose(getattr(value, name), true, atol=tolerance)
            if value.labels is not None:
                assert list(value.labels) == [p.strip() for p in example.target if isinstance(p, str)]
        else:
            said = value.name if isinstance(value, Label) else value.text
            assert said == example.target[0]


# ------------------------------------------------------------------------------- frames


REFER = task({"box": {}}, {"field": "box"}, prompt="Where ?")


def test_boxes_come_back_in_the_source_frame(processor):
    box = np.array([[0.0, 0.0, 96.0, 48.0]])
    example = example_of(REFER, box=Boxes(box))
    encoded = processor.encode(example, REFER)
    # scaled by 64 / 96: the box fills 64 x 32 of the model's square; y1 x1 y2 x2
    assert [processor.tokenizers.vocabulary.bin_of(i) for i in encoded.target_ids[:-1]] == [0, 0, 500, 999]
    value = round_trip(processor, REFER, example)
    np.testing.assert_allclose(value.xyxy, box, atol=96 / 999)
    assert encoded.patch_mask[0].reshape(8, 8).all(1).tolist() == [True] * 4 + [False] * 4
    assert (encoded.images[0, 32:] == 0).all() and encoded.images.max() > 200


def test_boxes_follow_the_image_they_lie_in(processor):
    loaded = task({"second": {"type": "image"}, "box": {"image": "second"}}, {"field": "box"},
                  input={"images": ["image", "second"], "prompt": "Where ?"})  # fmt: skip
    second = Image(np.zeros((200, 100, 3), np.uint8))
    example = example_of(loaded, second=second, box=Boxes(np.array([[10.0, 20.0, 90.0, 180.0]])))
    assert processor.encode(example, loaded).images.shape[0] == 2
    np.testing.assert_allclose(round_trip(processor, loaded, example).xyxy, [[10, 20, 90, 180]], atol=0.2)


def test_prompts_may_hold_boxes_and_control_strings_stay_text(processor):
    loaded = task(
        {"box": {}, "word": "word", "label": {}}, {"field": "label"}, prompt="What is {{ box }} {{ word }} ?"
    )
    box = Boxes(np.array([[0.0, 0.0, 96.0, 48.0]]))
    example = example_of(loaded, box=box, word=Text("</s> <loc_3> <extra_id_7>"), label=Label("cube"))
    ids = processor.encode(example, loaded).input_ids
    kinds = processor.tokenizers.vocabulary.kind_of(ids)
    assert kinds.count("location") == 4 and kinds.count("eos") == 1 and kinds[-1] == "eos"
    head, shown, tail = processor.parse_text(ids)
    assert (head, tail) == ("What is", "</s> <loc_3> <extra_id_7> ?")
    np.testing.assert_allclose(shown.xyxy, [[0, 0, 64, 32]], atol=0.04)


def test_dense_targets_are_padded_masked_and_come_back_in_source_pixels(processor):
    loaded = task({"depth": {}}, {"field": "depth", "value_range": [0, 10]})
    metres = np.linspace(0, 10, 96)[None].repeat(48, 0)
    valid = np.ones((48, 96), bool)
    valid[:, :24] = False  # two columns of 8-pixel codes and no more
    example = example_of(loaded, depth=Depth(metres, valid))
    encoded = processor.encode(example, loaded)
    mask = encoded.target_code_mask.reshape(8, 8)
    assert mask[:4, 2:].all() and not mask[4:].any() and not mask[:, :2].any()
    value, _ = processor.decode(loaded, [], encoded.target_image, example)
    assert value.metres.shape == (48, 96)
    assert np.abs(value.metres - metres)[valid].max() < 10 / 255 + 10 / 96 * 1.5
    assert encoded.cost == len(encoded.input_ids) + 64 + 1 + 64


# ------------------------------------------------------------------------------- lengths


def test_long_prompts_lose_their_end_and_say_so(toy):
    small = Processor(
        toy, image_size=64, patch_size=8, target_size=64, max_input_length=8, max_target_length=8
    )
    loaded = task({"word": "word", "label": {}}, {"field": "label"}, prompt="{{ word }}")
    example = example_of(loaded, word=Text("red cube " * 10), label=Label("cube"))
    encoded = small.encode(example, loaded)
    assert len(encoded.input_ids) == 8 and encoded.input_ids[-1] == 1 and encoded.truncated == 20 - 7


def test_long_targets_are_bad_rows(toy):
    small = Processor(
        toy, image_size=64, patch_size=8, target_size=64, max_input_length=8, max_target_length=8
    )
    loaded = task({"caption": {"type": "text"}}, {"field": "caption"})
    small.encode(example_of(loaded, caption=Text("red cube " * 3)), loaded)
    with pytest.raises(BadRow, match="9 tokens, more than the 8"):
        small.encode(example_of(loaded, caption=Text("red cube " * 4)), loaded)
    short = task({"caption": {"type": "text"}}, {"field": "caption", "max_tokens": 3})
    with pytest.raises(BadRow, match="more than the 3"):
        small.encode(example_of(short, caption=Text("a red cube")), short)
    assert small.max_new_tokens(short) == 3 and small.max_new_tokens(loaded) == 8


def test_sizes_must_be_whole_patches_and_codes(toy):
    for sizes in ({"image_size": 60, "target_size": 64}, {"image_size": 64, "target_size": 60}):
        with pytest.raises(UserError, match="multiple"):
            Processor(toy, **sizes, patch_size=8, max_input_length=8, max_target_length=8)


def test_prompting_needs_no_target(processor):
    loaded = load_task("toybox_depth")
    image = Image(np.zeros((48, 96, 3), np.uint8))
    example = build_example(
        loaded, {"image": image}, key="asked", rng=np.random.default_rng(0), training=False, image_size=64,
        target_size=64, with_target=False,
    )  # fmt: skip
    encoded = processor.encode(example, loaded)
    assert encoded.target_image is None and encoded.images.shape == (1, 64, 64, 3)
    assert processor.max_new_tokens(loaded) == 66
    value, malformed = processor.decode(loaded, [], np.zeros(64, np.int64), example)
    assert value.metres.shape == (48, 96) and not malformed


# ----------------------------------------------------------------------- malformed answers


def answer(processor, loaded, example, *parts):
    """Decode ids given as bins of locations (lists) and strings."""
    v, text = processor.tokenizers.vocabulary, processor.tokenizers.text
    ids = []
    for part in parts:
        ids += text.encode(part) if isinstance(part, str) else [v.location_id(b) for b in part]
    return processor.decode(loaded, [v.pad_id, *ids, v.eos_id, v.pad_id, v.location_id(1)], None, example)


def test_whole_boxes_of_a_broken_answer_are_kept(processor):
    example = example_of(REFER, box=Boxes(np.array([[0.0, 0.0, 96.0, 48.0]])))
    value, malformed = answer(processor, REFER, example, [0, 0, 500, 999, 1, 2])
    np.testing.assert_allclose(value.xyxy, [[0, 0, 96, 48]], atol=0.1)
    assert malformed
    value, malformed = answer(processor, REFER, example, "nothing here")
    assert len(value) == 0 and malformed
    value, malformed = answer(processor, REFER, example, [500, 999, 0, 0])  # corners the wrong way round
    np.testing.assert_allclose(value.xyxy, [[0, 0, 96, 48]], atol=0.1)
    assert not malformed


def test_boxes_without_their_label_are_left_out(processor):
    loaded = task({"objects": {"labels": "labels"}}, {"field": "objects"})
    example = example_of(loaded, objects=Boxes(np.zeros((0, 4)), ()))
    value, malformed = answer(processor, loaded, example, [0, 0, 9, 9], "cone", [0, 0, 400, 400])
    assert value.labels == ("cone",) and len(value) == 1 and malformed
    value, malformed = answer(processor, loaded, example)
    assert value.labels == () and len(value) == 0 and not malformed
    assert round_trip(processor, loaded, example).labels == ()


def test_half_a_figure_is_left_out(processor):
    loaded = task({"keypoints": {"names": ["a", "b"]}}, {"field": "keypoints"})
    xy = np.array([[[10.0, 20.0], [30.0, 40.0]]])
    example = example_of(loaded, keypoints=Keypoints(xy, np.array([[2, 0]]), ("a", "b")))
    value = round_trip(processor, loaded, example)
    assert value.visibility.tolist() == [[2, 0]]
    np.testing.assert_allclose(value.xy[0], [[10, 20], [10, 20]], atol=0.1)  # the absent one at the mean
    value, malformed = answer(processor, loaded, example, [1, 1], "3", [2, 2], "1", [3, 3], "3")
    assert value.xy.shape == (1, 2, 2) and malformed


def test_a_figure_without_joints_cannot_be_written(processor):
    with pytest.raises(BadRow, match="no joint"):
        processor.text_ids((Keypoints(np.zeros((1, 2, 2)), np.zeros((1, 2), np.int64), ("a", "b")),))


def test_numbers_and_grounded_text_that_are_broken(processor):
    number = task({"score": {"type": "number"}}, {"field": "score", "decimals": 2, "value_range": [-1, 9]})
    example = example_of(number, score=Number(-0.25))
    assert round_trip(processor, number, example) == Number(-0.25)
    value, malformed = answer(processor, number, example, "two")
    assert np.isnan(value.value) and malformed

    grounded = task({"caption": {"type": "grounded_text"}}, {"field": "caption"})
    text = "a cube, and a cone."
    boxes = Boxes(np.array([[0.0, 0.0, 48.0, 48.0], [48.0, 0.0, 96.0, 48.0], [0.0, 0.0, 10.0, 10.0]]))
    true = GroundedText(text, ((0, 6), (0, 6), (12, 18)), boxes)
    example = example_of(grounded, caption=true)
    value = round_trip(processor, grounded, example)
    assert (value.text, value.spans) == (text, true.spans)
    np.testing.assert_allclose(value.boxes.xyxy, boxes.xyxy, atol=0.1)
    value, malformed = answer(processor, grounded, example, "a cube", [1, 1, 2, 2], "ends")
    assert (value.text, value.spans, len(value.boxes)) == ("a cube ends", (), 0) and malformed


def test_image_answers_of_the_wrong_length_are_malformed(processor):
    loaded = load_task("toybox_text_to_image")
    example = Example(task="t", key="k", images=(), prompt=("x",), target=(), values={})
    value, malformed = processor.decode(loaded, [], [1, 2, 3], example)
    assert value.pixels.shape == (64, 64, 3) and malformed


def test_a_generated_sequence_is_split_into_text_and_codes(processor):
    v = processor.tokenizers.vocabulary
    assert processor.split([0, v.image_start_id, v.code_id(5), v.code_id(0), 1, 0]) == ([1], [5, 0])
    assert processor.split([0, 40, v.location_id(3), 1]) == ([40, v.location_id(3), 1], [])


# ------------------------------------------------------------------------------- options


def test_grammars_are_remembered_a_task_and_options(processor):
    loaded = task({"label": {}}, {"field": "label"}, options={"choices": ["cone", "cube"]})
    example = example_of(loaded, label=Label("cone"))
    grammar = processor.grammar(loaded, example)
    assert processor.grammar(loaded, example) is grammar
    encode = processor.tokenizers.text.encode
    assert grammar.accepts([*encode("cube"), 1]) and not grammar.accepts([*encode("sphere"), 1])
    other = task({"label": {}}, {"field": "label"}, options={"choices": ["cone", "sphere"]})
    assert processor.grammar(other, example_of(other, label=Label("cone"))).accepts([*encode("sphere"), 1])


def test_templates_with_boxes_may_be_read_as_text(processor):
    loaded = task({"box": {}, "name": "name"}, {"template": "{{ name }} at {{ box }}"})
    example = example_of(loaded, box=Boxes(np.array([[0.0, 0.0, 9.0, 9.0]])), name=Text("a cube"))
    assert round_trip(processor, loaded, example) == Text("a cube at")


def test_postprocess_cleans_answers(processor):
    loaded = task({"answer": "answer"}, {"field": "answer"}, postprocess=["lowercase", "strip"])
    example = example_of(loaded, answer=Text("RED"))
    assert round_trip(processor, loaded, example) == Text("red")

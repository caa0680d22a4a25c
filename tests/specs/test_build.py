"""From values to examples: prompts, targets, frames, preprocessing, bad rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unified.specs.build import build_example
from unified.specs.example import BadRow, Example
from unified.specs.load import LoadedTask, list_tasks, load_task
from unified.specs.specimen import specimen
from unified.values.geometry import Geometry
from unified.values.types import (
    DENSE_TYPES,
    Boxes,
    Depth,
    Image,
    Keypoints,
    Label,
    Mask,
    Number,
    Points,
    Size,
    Text,
    Texts,
    Value,
)

SOURCE = {"type": "csv", "splits": {"train": "rows.csv"}}


def task(fields: dict[str, Any], prompt: Any, target: dict[str, Any], **more: Any) -> LoadedTask:
    images = more.pop("images", [name for name in fields if name == "image"])
    spec = {
        "task": "t", "source": SOURCE, "fields": fields, "input": {"images": images, "prompt": prompt},
        "target": target, **more,
    }  # fmt: skip
    if "eval_prompt" in more:
        spec["input"]["eval_prompt"] = spec.pop("eval_prompt")
    return LoadedTask.from_resolved(spec, Path("/"))


def build(loaded: LoadedTask, values: dict[str, Value], *, seed: int | None = None, **more: Any) -> Example:
    """Evaluation, or with a seed, training."""
    rng = np.random.default_rng(seed or 0)
    options = {"key": "k", "image_size": 64, "target_size": 32, **more}
    return build_example(loaded, values, rng=rng, training=seed is not None, **options)


def picture(width: int, height: int) -> Image:
    return Image(np.arange(width * height * 3, dtype=np.uint64).astype(np.uint8).reshape(height, width, 3))


REFER = task({"image": {}, "phrase": {}, "box": {}}, "Where is {{ phrase }}?", {"field": "box"})


# ---------------------------------------------------------------------------------------- frames


def test_locations_lie_in_the_model_frame() -> None:
    values: dict[str, Value] = {
        "image": picture(128, 96), "phrase": Text("it"), "box": Boxes(np.array([[20.0, 40.0, 60.0, 80.0]])),
    }  # fmt: skip
    example = build(REFER, values)
    assert example.prompt == ("Where is it?",)
    [box] = example.target
    np.testing.assert_allclose(box.xyxy, [[10, 20, 30, 40]])
    [geometry] = example.geometries
    assert geometry == Geometry.resize_pad(Size(128, 96), 64)
    np.testing.assert_allclose(geometry.inverse().apply(box).xyxy, values["box"].xyxy)  # type: ignore[union-attr]
    assert example.images == (values["image"],) and example.values["box"] is values["box"]
    assert example.target_geometry is None


def test_a_location_follows_the_image_that_its_field_names() -> None:
    loaded = task(
        {"image": {}, "second": {"type": "image"}, "box": {"image": "second"}},
        "Compare {{ box }}.", {"template": "same"}, images=["image", "second"],
    )  # fmt: skip
    values: dict[str, Value] = {
        "image": picture(64, 64), "second": picture(128, 128),
        "box": Boxes(np.array([[0.0, 0.0, 128.0, 128.0]])),
    }  # fmt: skip
    example = build(loaded, values)
    np.testing.assert_allclose(example.prompt[1].xyxy, [[0, 0, 64, 64]])  # type: ignore[union-attr]
    assert [g.source for g in example.geometries] == [Size(64, 64), Size(128, 128)]


def test_layout_to_image_moves_boxes_by_the_target() -> None:
    loaded = task({"image": {}, "box": {}}, "Draw a cat at {{ box }}.", {"field": "image"}, images=[])
    values: dict[str, Value] = {"image": picture(128, 64), "box": Boxes(np.array([[0.0, 0.0, 128.0, 64.0]]))}
    example = build(loaded, values)
    np.testing.assert_allclose(example.prompt[1].xyxy, [[0, 0, 64, 32]])  # type: ignore[union-attr]
    assert example.images == () and example.geometries == ()
    assert example.target is values["image"]
    assert example.target_geometry == Geometry.resize_pad(Size(128, 64), 32)


def test_no_image_no_geometry() -> None:
    loaded = task({"a": {}, "b": {"type": "label"}}, "{{ a }}", {"field": "b"})
    example = build(loaded, {"a": Text("x"), "b": Label("y")})
    assert (example.geometries, example.images, example.target_geometry) == ((), (), None)
    assert example.target == ("y",)


DEPTH = task({"image": {}, "depth": {}}, "How far?", {"field": "depth", "value_range": [0, 10]})


def test_a_map_of_its_own_resolution_goes_with_its_image() -> None:
    depth = Depth(np.full((24, 32), 2.0))
    example = build(DEPTH, {"image": picture(128, 96), "depth": depth})
    assert example.target is depth
    geometry = example.target_geometry
    assert geometry is not None and geometry.source == Size(32, 24) and geometry.target == Size(32, 32)
    np.testing.assert_allclose(geometry.content, (0, 0, 32, 24))
    assert geometry.apply(depth).metres.shape == (32, 32)


def test_masks_as_input_are_drawn() -> None:
    loaded = task({"mask": {}, "image": {}}, "Draw this.", {"field": "image"}, images=["mask"])
    mask = np.zeros((8, 8), bool)
    mask[2:4] = True
    example = build(loaded, {"mask": Mask(mask), "image": picture(8, 8)})
    [drawn] = example.images
    assert (drawn.pixels[mask] == 255).all() and (drawn.pixels[~mask] == 0).all()


# --------------------------------------------------------------------------------------- prompts


def test_prompts_are_drawn_by_weight_in_training() -> None:
    loaded = task({"a": {}}, [{"text": "one {{ a }}"}, {"text": "two {{ a }}", "weight": 3}], {"field": "a"})
    drawn = Counter(build(loaded, {"a": Text("x")}, seed=s).prompt for s in range(400))
    assert set(drawn) == {("one x",), ("two x",)}
    assert 0.65 < drawn[("two x",)] / 400 < 0.85
    assert build(loaded, {"a": Text("x")}, seed=7) == build(loaded, {"a": Text("x")}, seed=7)
    assert build(loaded, {"a": Text("x")}).prompt == ("one x",)


def test_eval_prompt() -> None:
    loaded = task({"a": {}}, ["one", "two"], {"field": "a"}, eval_prompt="asked {{ a }}")
    assert build(loaded, {"a": Text("x")}).prompt == ("asked x",)
    assert ("asked x",) not in {build(loaded, {"a": Text("x")}, seed=s).prompt for s in range(20)}


def test_nothing_random_outside_the_generator() -> None:
    loaded = task(
        {"image": {}, "objects": {"labels": "l"}, "t": {"type": "texts"}},
        ["{{ objects }}", "{{ t }}"], {"field": "t"},
        preprocess=[{"random_flip": {}}, {"random_crop": {}}, {"choose": {"field": "objects"}}],
    )  # fmt: skip
    boxes = Boxes(np.array([[0.0, 0.0, 64.0, 64.0]] * 4), ("a", "b", "c", "d"))
    values: dict[str, Value] = {"image": picture(64, 64), "objects": boxes, "t": Texts(("x", "y", "z"))}
    first = [build(loaded, values, seed=s) for s in range(20)]
    np.random.seed(3)
    again = [build(loaded, values, seed=s) for s in range(20)]
    assert [e.geometries for e in first] == [e.geometries for e in again]
    assert [e.target for e in first] == [e.target for e in again]
    assert len({e.geometries for e in first}) > 5
    states = [build(loaded, values, key=str(i)) for i in range(3)]
    assert len({e.geometries for e in states}) == 1 and states[0].target == ("x",)


# --------------------------------------------------------------------------------------- targets


def test_several_answers() -> None:
    answers = Texts(("b", "a", "a"))
    for sample, wanted in (("first", {"b"}), ("most_common", {"a"}), ("random", {"a", "b"})):
        loaded = task({"q": {}, "a": {"type": "texts"}}, "{{ q }}", {"field": "a", "sample": sample})
        values: dict[str, Value] = {"q": Text("?"), "a": answers}
        assert {build(loaded, values, seed=s).target[0] for s in range(30)} == wanted  # type: ignore[index]
        assert build(loaded, values).target == ("b",), "evaluation takes the first"


def test_numbers() -> None:
    for decimals, wanted in ((0, "3"), (1, "2.5"), (2, "2.52")):
        loaded = task({"q": {}, "number": {}}, "{{ q }}", {"field": "number", "decimals": decimals})
        assert build(loaded, {"q": Text("?"), "number": Number(2.52)}).target == (wanted,)
    with pytest.raises(BadRow, match="nan"):
        build(loaded, {"q": Text("?"), "number": Number(float("nan"))})


def detect(**target: Any) -> LoadedTask:
    return task({"image": {}, "objects": {"labels": "l"}}, "All?", {"field": "objects", **target})


OBJECTS = Boxes(
    np.array([[30.0, 0.0, 40.0, 10.0], [10.0, 0.0, 50.0, 40.0], [20.0, 0.0, 22.0, 2.0]]), ("a", "b", "c")
)


def labels_of(example: Example) -> str:
    assert isinstance(example.target, tuple)
    return "".join(part.strip() for part in example.target if isinstance(part, str))


def test_order_and_number_of_objects() -> None:
    values: dict[str, Value] = {"image": picture(64, 64), "objects": OBJECTS}
    assert labels_of(build(detect(), values)) == "abc"
    assert labels_of(build(detect(order="left_to_right"), values)) == "bca"
    assert labels_of(build(detect(order="largest_first"), values)) == "bac"
    assert labels_of(build(detect(order="largest_first", max_items=2), values)) == "ba"
    orders = {labels_of(build(detect(order="random"), values, seed=s)) for s in range(40)}
    assert len(orders) == 6
    assert labels_of(build(detect(order="random"), values)) == "abc"


def test_keypoints_and_points_are_ordered_too() -> None:
    xy = np.array([[[40.0, 5.0], [50.0, 9.0]], [[2.0, 5.0], [60.0, 60.0]], [[9.0, 9.0], [9.0, 9.0]]])
    seen = np.array([[2, 2], [2, 0], [0, 0]])
    fields: dict[str, Any] = {"image": {}, "keypoints": {"names": ["head", "foot"]}, "point": {}}
    values: dict[str, Value] = {
        "image": picture(64, 64), "keypoints": Keypoints(xy, seen, ("head", "foot")),
        "point": Points(np.array([[30.0, 1.0], [10.0, 1.0]])),
    }  # fmt: skip
    loaded = task(fields, "?", {"field": "keypoints", "order": "left_to_right"})
    [joints] = build(loaded, values).target
    assert joints.xy[:, 0, 0].tolist() == [2, 40], "the figure without a seen joint is left out"
    loaded = task(fields, "?", {"field": "keypoints", "order": "largest_first", "max_items": 1})
    [joints] = build(loaded, values).target
    assert joints.xy[:, 0, 0].tolist() == [40]
    [points] = build(task(fields, "?", {"field": "point", "order": "left_to_right"}), values).target
    assert points.xy[:, 0].tolist() == [10, 30]


def test_detection_may_find_nothing() -> None:
    nothing = Boxes(np.zeros((0, 4)), ())
    assert build(detect(), {"image": picture(64, 64), "objects": nothing}).target == ()


def test_without_target() -> None:
    example = build(REFER, {"image": picture(64, 64), "phrase": Text("it")}, with_target=False)
    assert example.target == () and example.prompt == ("Where is it?",)
    example = build(DEPTH, {"image": picture(128, 96)}, with_target=False)
    assert example.target_geometry == Geometry.resize_pad(Size(128, 96), 32)
    draw = task({"text": {}, "image": {}}, "Draw {{ text }}.", {"field": "image"}, images=[])
    assert build(draw, {"text": Text("it")}, with_target=False).target_geometry == Geometry.identity(
        Size(32, 32)
    )


# -------------------------------------------------------------------------------------- bad rows


def test_bad_rows() -> None:
    image = picture(64, 64)
    box = Boxes(np.zeros((0, 4)))
    for loaded, values, reason in (
        (REFER, {"image": image, "phrase": Text("it"), "box": box}, "the target is empty"),
        (REFER, {"image": image, "phrase": Text("it")}, "the target 'box' is missing"),
        (REFER, {"image": image, "box": OBJECTS}, "prompt: 'phrase' is undefined"),
        (DEPTH, {"image": image, "depth": Depth(np.full((64, 64), np.nan))}, "not finite"),
        (
            DEPTH,
            {"image": image, "depth": Depth(np.ones((64, 64)), np.zeros((64, 64), bool))},
            "no valid pixel",
        ),
        (DEPTH, {"image": image, "depth": Depth(np.full((64, 64), 4000.0))}, "set the field's `unit_scale`"),
        (task({"a": {}}, "?", {"field": "a"}), {"a": Text(" ")}, "the target is empty"),
        (task({"a": {"type": "texts"}}, "?", {"field": "a"}), {"a": Texts(())}, "the target is empty"),
    ):
        with pytest.raises(BadRow, match=reason):
            build(loaded, values)  # type: ignore[arg-type]


def test_options() -> None:
    fields: dict[str, Any] = {"q": {}, "a": {"type": "label"}, "all": {"type": "texts"}}
    fixed = task(fields, "{{ q }}", {"field": "a"}, options={"choices": ["yes", "no"]})
    values: dict[str, Value] = {"q": Text("?"), "a": Label("no"), "all": Texts(("no", "maybe"))}
    assert build(fixed, values).options == ("yes", "no")
    with pytest.raises(BadRow, match="the answer 'maybe' is not among the options"):
        build(fixed, {**values, "a": Label("maybe")})
    own = task(fields, "{{ q }}", {"field": "a"}, options={"field": "all"})
    assert build(own, values).options == ("no", "maybe")
    with pytest.raises(BadRow, match="there are no options in 'all'"):
        build(own, {**values, "all": Texts(())})


# ------------------------------------------------------------------------------------ preprocess


def with_step(**step: Any) -> LoadedTask:
    fields = {
        "image": {},
        "clean": {"type": "image"},
        "objects": {"labels": "l"},
        "t": {"type": "texts"},
        "m": {"type": "mask"},
    }
    return task(fields, "{{ t }}", {"field": "objects"}, preprocess=[step], images=["image"])


def sample() -> dict[str, Value]:
    image = picture(64, 64)
    mask = np.zeros((64, 64), bool)
    mask[:8] = True
    return {
        "image": image,
        "clean": image,
        "objects": OBJECTS,
        "t": Texts(("One", "Two", "Three")),
        "m": Mask(mask),
    }


def boxes_of(example: Example) -> list[list[float]]:
    assert isinstance(example.target, tuple)
    return [part.xyxy[0].tolist() for part in example.target if isinstance(part, Boxes)]


def test_flip_moves_image_and_boxes_together() -> None:
    loaded = with_step(random_flip={"probability": 1})
    flipped, plain = build(loaded, sample(), seed=1), build(loaded, sample())
    assert boxes_of(flipped)[0] == [24, 0, 34, 10] and boxes_of(plain)[0] == [30, 0, 40, 10]
    image = sample()["image"]
    assert isinstance(image, Image)
    np.testing.assert_array_equal(flipped.geometries[0].apply(image).pixels, image.pixels[:, ::-1])


def test_crops_drop_what_leaves() -> None:
    example = build(with_step(center_crop={"scale": 0.5}), sample())  # x, y in 16..48
    assert labels_of(example) == "b", "the boxes above the crop are gone with their labels"
    assert boxes_of(example) == [[0, 0, 64, 48]]
    for seed in range(20):
        example = build(with_step(random_crop={"min_scale": 0.5}), sample(), seed=seed)
        [geometry] = example.geometries
        back = geometry.inverse().apply(example.target[0]) if example.target else None  # type: ignore[index]
        if back is not None:
            original = OBJECTS.xyxy[("a", "b", "c").index(labels_of(example)[0])]
            assert (back.xyxy[0][:2] >= original[:2] - 1e-6).all()
            assert (back.xyxy[0][2:] <= original[2:] + 1e-6).all()


def test_value_steps() -> None:
    assert build(with_step(lowercase={"field": "t"}), sample()).prompt == ("one, two, three",)
    assert build(with_step(choose={"field": "t", "n": 2}), sample()).prompt == ("One, Two",)
    drawn = {build(with_step(choose={"field": "t"}), sample(), seed=s).prompt for s in range(30)}
    assert drawn == {("One",), ("Two",), ("Three",)}
    assert labels_of(build(with_step(min_area={"field": "objects", "pixels": 5}), sample())) == "ab"
    assert labels_of(build(with_step(choose={"field": "objects", "n": 2}), sample())) == "ab"
    enclosed = build(with_step(enclose={"field": "objects"}), sample())
    low, high = OBJECTS.xyxy[:, :2].min(axis=0), OBJECTS.xyxy[:, 2:].max(axis=0)
    assert labels_of(enclosed) == "" and boxes_of(enclosed) == [[*low, *high]]


def test_erased_regions() -> None:
    original = sample()["image"]
    assert isinstance(original, Image)
    example = build(with_step(erase_region={"image": "image", "region": "objects", "grey": 9}), sample())
    assert (example.images[0].pixels[0:10, 30:40] == 9).all()
    np.testing.assert_array_equal(example.images[0].pixels[50:], original.pixels[50:])
    assert example.values["clean"] is not example.images[0]
    np.testing.assert_array_equal(example.values["clean"].pixels, original.pixels)  # type: ignore[union-attr]
    example = build(with_step(erase_region={"image": "image", "region": "m"}), sample())
    assert (example.images[0].pixels[:8] == 127).all()


# ------------------------------------------------------------------------------- shipped tasks


@pytest.mark.parametrize("path", list_tasks(), ids=lambda p: p.stem)
def test_shipped_tasks_build(path: Path) -> None:
    loaded = load_task(path)
    values = specimen(loaded.spec, np.random.default_rng(1))
    for seed in (None, 1, 2):
        example = build(loaded, values, seed=seed)
        assert len(example.images) == len(example.geometries) == len(loaded.spec.input.images)
        assert example.prompt
        dense = loaded.spec.modality in DENSE_TYPES
        assert dense == (example.target_geometry is not None) == (not isinstance(example.target, tuple))

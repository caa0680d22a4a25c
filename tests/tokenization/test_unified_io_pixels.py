"""Preprocessing against an independent computation of what the official code does: torch in float64.

Input: scale = 384 / longer side, int(h * scale) x int(w * scale), antialiased bilinear, zeros below and
to the right, ImageNet mean and deviation; a patch counts where its top-left pixel does.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unified.data.collate import collate
from unified.model.configuration import UnifiedConfig
from unified.model.embeddings import PatchEmbedding
from unified.serving.asking import Asker
from unified.specs.build import build_example
from unified.specs.load import load_task
from unified.tokenization.processor import Processor
from unified.values.instances import colour_map, instances
from unified.values.types import Boxes, Image, Mask, Text

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZES = [(640, 426), (425, 640), (384, 384), (384, 200), (100, 50), (333, 500), (1000, 37), (256, 256)]


@pytest.fixture(scope="module")
def processor(official):
    return Processor(
        official, image_size=384, patch_size=16, target_size=256, max_input_length=256, max_target_length=256
    )


@pytest.fixture(scope="module")
def asker():
    names = ("caption", "image_inpainting")
    return Asker(
        {n: load_task(f"unified_io_{n}") for n in names}, image_size=384, target_size=256,
    )  # fmt: skip


def noise(size):
    return Image(np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def official_frame(pixels, side):
    """(h, w, 3) uint8 -> (side, side, 3) float64 in 0..1 and (side, side) bool."""
    h, w = pixels.shape[:2]
    scale = side / max(h, w)
    x = torch.from_numpy(pixels).double().permute(2, 0, 1)[None] / 255
    new = (h, w)
    if scale != 1:
        new = (int(h * scale), int(w * scale))
        x = F.interpolate(x, new, mode="bilinear", antialias=True, align_corners=False)
    mask = np.zeros((side, side), dtype=bool)
    mask[: new[0], : new[1]] = True
    out = np.zeros((side, side, 3))
    out[: new[0], : new[1]] = x[0].permute(1, 2, 0).numpy()
    return out, mask


def official_patches(mask, cells):
    """The nearest pixel of a coarser grid, as torch (and so the official code) picks it."""
    small = F.interpolate(torch.from_numpy(mask)[None, None].float(), (cells, cells), mode="nearest")
    return small.numpy().reshape(-1) > 0


def normalised(images):
    """What the model makes of pixels before its matrix: (n, patches, 16 * 16 * 3)."""
    config = UnifiedConfig(d_model=768, image_size=384, patch_size=16, patch_embed="linear")
    embed = PatchEmbedding(config)
    with torch.no_grad():
        embed.projection.weight.copy_(torch.eye(768))
        return embed(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_input_images(size, asker, processor):
    image = noise(size)
    asked = asker.task("caption", [image], {})
    encoded = processor.encode(asked.example, asked.task)
    wanted, mask = official_frame(image.pixels, 384)
    np.testing.assert_allclose(encoded.images[0] / 255, wanted, atol=2e-6)
    np.testing.assert_array_equal(encoded.patch_mask[0], official_patches(mask, 24))
    wanted = (wanted - MEAN) / DEVIATION
    patches = wanted.reshape(24, 16, 24, 16, 3).transpose(0, 2, 1, 3, 4).reshape(576, 768)
    np.testing.assert_allclose(normalised(encoded.images)[0], patches, atol=1e-5)


@pytest.mark.parametrize(
    "box", [[226.56, 160.64, 476.16, 316.16], [0, 0, 640, 426], [-5, 3.2, 12.6, 500], [100, 100, 110, 109]]
)
@pytest.mark.parametrize("size", [(640, 426), (384, 384)], ids=str)
def test_a_region_to_fill_in_is_hidden_but_not_erased(box, size, asker, processor):
    image = noise(size)
    asked = asker.task("image_inpainting", [image], {"box": [box], "phrase": "table"})
    encoded = processor.encode(asked.example, asked.task)
    wanted, mask = official_frame(image.pixels, 384)
    np.testing.assert_allclose(encoded.images[0] / 255, wanted, atol=2e-6)
    inside = np.clip(box, 0, [*size, *size])  # below 0 the official slice would count from the end
    x1, y1, x2, y2 = np.round(np.array(inside) / max(size) * 384).astype(int)
    mask[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(encoded.patch_mask[0], official_patches(mask, 24))


def test_hidden_patches_do_not_reach_the_next_image(asker, processor):
    one = asker.task("caption", [noise((384, 384))], {})
    two = asker.task("image_inpainting", [noise((384, 384))], {"box": [[0, 0, 200, 200]], "phrase": "it"})
    batch = collate([processor.encode(q.example, q.task) for q in (one, two)])
    assert batch.inputs["patch_mask"].sum(-1).flatten().tolist() == [576, 576 - 13 * 13]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_target_images(size, processor):
    task = load_task("unified_io_image_generation")
    image = noise(size)
    example = build_example(
        task, {"caption": Text("noise"), "image": image}, key="k", rng=np.random.default_rng(0),
        training=False, image_size=384, target_size=256,
    )  # fmt: skip
    encoded = processor.encode(example, task)
    wanted, mask = official_frame(image.pixels, 256)
    np.testing.assert_allclose(encoded.target_image / 127.5 - 1, wanted * 2 - 1, atol=1e-5)
    np.testing.assert_array_equal(encoded.target_code_mask, official_patches(mask, 16))
    batch = collate([encoded])
    np.testing.assert_array_equal(batch.target_images[0].numpy(), encoded.target_image)


def test_images_that_need_no_resizing_stay_bytes(processor):
    task = load_task("unified_io_image_generation")
    encoded = []
    for size in ((256, 256), (256, 100), (512, 512)):
        values = {"caption": Text("noise"), "image": noise(size)}
        example = build_example(
            task, values, key="k", rng=np.random.default_rng(0), training=False,
            image_size=384, target_size=256,
        )  # fmt: skip
        encoded.append(processor.encode(example, task))
    assert [e.target_image.dtype for e in encoded] == [np.uint8, np.uint8, np.float32]
    assert collate(encoded[:2]).target_images.dtype == torch.uint8
    assert collate(encoded).target_images.dtype == torch.float32


def test_regions_do_not_change_by_the_way_there_and_back(asker, processor):
    """Whole pixels of usual sizes, where 999 * x / side is whole or nearly so."""
    for width, height in ((640, 480), (480, 333), (333, 500), (600, 400), (999, 111), (427, 640)):
        image, side = noise((width, height)), max(width, height)
        for x in range(3, min(width, height) - 8, 7):
            box = np.array([[x, x + 1, x + 5, x + 6]], dtype=float)
            asked = asker.task("image_inpainting", [image], {"box": Boxes(box), "phrase": "it"})
            ids = np.array(processor.encode(asked.example, asked.task).input_ids)
            bins = 32999 - ids[(ids >= 32000) & (ids < 33000)]
            assert bins.tolist() == (999 * (box[0][[1, 0, 3, 2]] / side)).astype(int).tolist()


# ------------------------------------------------------------------------------- instance masks


def test_instances_by_colour():
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[2:10, 2:10] = 250  # white
    pixels[12:20, 2:10] = 90  # grey is the first instance too
    pixels[2:10, 12:20] = (200, 40, 40)
    pixels[2:10, 22:30] = (30, 220, 60)
    pixels[2:10, 32:38] = (10, 20, 160)
    pixels[30:35, 2:7] = 25  # nearly black
    pixels[30:35, 12:17] = (80, 0, 0)  # a dark red is background
    pixels[30:32, 22:27] = 255  # ten pixels are a speck
    pixels[30:32, 32:35], pixels[32:34, 32:35] = (0, 0, 255), (0, 0, 255)
    found = instances(Image(pixels))
    wanted = np.zeros((40, 40), dtype=int)
    wanted[2:10, 2:10] = wanted[12:20, 2:10] = 1
    wanted[2:10, 12:20], wanted[2:10, 22:30], wanted[2:10, 32:38], wanted[30:34, 32:35] = 2, 3, 4, 4
    np.testing.assert_array_equal(found, wanted)


def test_specks_are_connected_in_the_picture_not_in_a_row_of_pixels():
    pixels = np.zeros((12, 12, 3), dtype=np.uint8)
    pixels[:, 3] = 255  # twelve pixels in a column, each alone in the flattened picture
    pixels[:11, 8] = 255
    pixels[4, 8] = 0  # four and six pixels
    assert instances(Image(pixels)).sum() == 12


def test_colour_map_paints_each_mask_as_it_calls_it():
    masks = [Mask(np.zeros((4, 6), dtype=bool)) for _ in range(3)]
    for i, mask in enumerate(masks):
        mask.array[i] = True
    image, words = colour_map(masks, ["Penguin", "sea", "sky"])
    assert words == "penguin : white , sea : red , sky : lime"
    assert image.pixels[:, 0].tolist() == [[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="1 masks and 2 labels"):
        colour_map(masks[:1], ["a", "b"])

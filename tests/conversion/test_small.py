"""A random checkpoint of the official `small` shape, converted once: from its file to answers."""

import shutil

import numpy as np
import official
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, AutoProcessor

import unified
from unified import UnifiedConfig, UnifiedModel, UnifiedProcessor
from unified.conversion.architecture import of_size
from unified.conversion.from_official import convert, unified_io_tasks
from unified.conversion.to_official import convert_back
from unified.evaluation.model_folder import load_model_folder
from unified.values.instances import colour_map
from unified.values.types import (
    Boxes,
    Depth,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Segmentation,
    Size,
    Text,
)

pytestmark = pytest.mark.slow
WIDE, TALL, SQUARE = (
    np.random.default_rng(0).integers(0, 256, (h, w, 3)).astype(np.uint8)
    for h, w in ((426, 640), (500, 333), (384, 384))
)
BOX = {"box": [[226.56, 160.64, 476.16, 316.16]]}
LEFT = Mask(np.arange(640) < 300 + np.zeros((426, 1)))
MAP, COLOURS = colour_map([LEFT], ["Penguin"])
OPTIONS = {"options": ["a cat", "two dogs", "nothing"]}
RUNNER = {
    "caption": ({}, Text),
    "vqa": ({"question": "What color is the sofa?"}, Text),
    "refexp": ({"phrase": "bed"}, Boxes),
    "object_localization": ({"phrase": "bed"}, Boxes),
    "region_caption": (BOX, Text),
    "region_classification": (BOX, Label),
    "region_classification_options": (BOX | OPTIONS, Label),
    "image_classification": ({}, Label),
    "image_classification_options": (OPTIONS, Label),
    "pose": (BOX, Keypoints),
    "surface_normal": ({}, Normals),
    "object_segmentation": ({"phrase": "painting"}, Segmentation),
    "image_generation": ({"caption": "A horse in a grassy field."}, Image),
    "image_inpainting": (BOX | {"phrase": "table"}, Image),
    "segmentation_based_generation": ({"colours": COLOURS}, Image),
}  # and depth, below


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """(the arrays, checkpoint, model folder)."""
    folder = tmp_path_factory.mktemp("small")
    flat = official.golden.recipe.det_params(official.shapes("small"), head_dim=64, tag="small")
    path = official.write_arrays(folder / "small.bin", flat)
    lines = convert(path, folder / "small")
    assert "official size 'small'" in lines[0] and not any("note" in line for line in lines)
    yield flat, path, folder / "small"
    shutil.rmtree(folder)  # pytest would keep it for three runs


@pytest.fixture(scope="module")
def pipe(small):
    return unified.pipeline(small[2], "cpu")


def test_the_folder_and_the_way_back(small, tmp_path):
    flat, path, folder = small
    loaded = load_model_folder(folder, device="cpu")
    assert loaded.trained and set(loaded.tasks) == {task.name for task in unified_io_tasks()}
    weights = loaded.model.state_dict()
    assert (weights["token_embedder.weight"].numpy() == flat["token_embedder/embedding"]).all()
    config, wanted = loaded.model.config.to_dict(), of_size("small").model.to_dict()
    assert {k for k in wanted if config[k] != wanted[k]} == {"architectures", "dtype", "_name_or_path"}
    tokenizers = loaded.processor.tokenizers
    assert tokenizers.name == "unified_io" and tokenizers.vocabulary.text_size == 33152
    assert torch.equal(tokenizers.image.codebook, torch.from_numpy(flat["discrete_vae/quantize/embedding"]))
    convert_back(folder, tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("method", RUNNER)
def test_a_method_of_the_runner_answers(method, pipe, tmp_path):
    fields, kind = RUNNER[method]
    image = {"image_generation": None, "segmentation_based_generation": MAP}.get(method, WIDE)
    result = pipe(method, image=image, **fields)
    assert result.task == f"unified_io_{method}" and type(result.value) is kind
    assert result.save(tmp_path / "answer.json").is_file()
    if kind is Keypoints:
        assert result.value.xy.shape == (1, 17, 2) and not result.malformed
    if kind in (Normals, Segmentation, Image):
        assert result.value.size == (Size(256, 256) if image is None else Size(640, 426))
        assert not result.malformed and result.score is None
    if "options" in fields:
        assert result.text in fields["options"] and result.score < 0


def test_depth_of_unequal_images_in_a_batch(pipe):
    wide, tall = pipe(["depth", "What is the depth map of the image ?"], image=[WIDE, TALL])
    for result, size in ((wide, Size(640, 426)), (tall, Size(333, 500))):
        assert result.task == "unified_io_depth" and type(result.value) is Depth and result.value.size == size
        assert 0 <= result.value.metres.min() < result.value.metres.max() <= 1


@pytest.mark.parametrize("strict", [False, True])
def test_unequal_images_answer_in_a_batch_as_alone(small, pipe, strict):
    asked = unified.pipeline(small[2], "cpu", strict=True) if strict else pipe
    images = [WIDE, TALL, None, SQUARE]
    prompts = ["caption", "What does the image describe ?", "what is it?", "caption"]
    for many, prompt, image in zip(asked(prompts, image=images), prompts, images, strict=True):
        one = asked(prompt, image=image)
        assert many.ids == one.ids and abs(many.score - one.score) < 1e-3 and type(many.value) is Text


def test_auto_classes(small):
    folder = small[2]
    assert type(AutoConfig.from_pretrained(folder)) is UnifiedConfig
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert type(model) is UnifiedModel
    for strict in (False, True):
        processor = AutoProcessor.from_pretrained(folder, strict=strict)
        assert type(processor) is UnifiedProcessor
        pipe = unified.pipeline(folder, "cpu", strict=strict)
        inputs = processor(["What does the image describe ?"] * 2, images=[WIDE, TALL])
        ids = model.generate(**inputs, max_new_tokens=8, min_new_tokens=8)
        assert ids.shape == (2, 9) and len(processor.batch_decode(ids)) == 2
        asked = pipe.question("caption", TALL)
        encoded = pipe._predictor._inputs([pipe._predictor.processor.encode(asked.example, asked.task)])
        assert all((inputs[name][1] == encoded[name][0]).all() for name in encoded)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_number_types(small, pipe, dtype):
    found = unified.pipeline(small[2], "cpu", dtype=dtype)
    result = found("caption", image=WIDE)
    assert type(result.value) is Text and np.isfinite(result.score)
    model = AutoModel.from_pretrained(small[2], dtype=found.model.dtype)
    inputs = AutoProcessor.from_pretrained(small[2])("What does the image describe ?", WIDE)
    start = torch.zeros(1, 1, dtype=torch.long)
    with torch.no_grad():
        exact, logits = (m(**inputs, decoder_input_ids=start).logits[0, -1] for m in (pipe.model, model))
    assert model.dtype == logits.dtype == found.model.dtype
    assert torch.cosine_similarity(exact[:33100], logits[:33100].float(), 0) > 0.98

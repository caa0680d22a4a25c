"""The model and its processor through transformers' own doors."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, AutoProcessor
from transformers.utils import hub

import unified
from unified import UnifiedConfig, UnifiedModel, UnifiedProcessor
from unified.errors import UserError

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(run):
    return run / "model"


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForSeq2SeqLM.from_pretrained(folder)


def test_auto_classes(folder, model):
    assert isinstance(AutoConfig.from_pretrained(folder), UnifiedConfig)
    assert isinstance(AutoModel.from_pretrained(folder), UnifiedModel) and isinstance(model, UnifiedModel)
    assert isinstance(AutoProcessor.from_pretrained(folder), UnifiedProcessor)


def test_processor_round_trip(folder, tmp_path, model):
    first = AutoProcessor.from_pretrained(folder)
    first.save_pretrained(tmp_path)
    second = AutoProcessor.from_pretrained(tmp_path)
    texts, images = ["what ?", "how many cubes are there ?"], [None, [PHOTO, PHOTO[:20]]]
    a, b = first(texts, images), second(texts, images)
    assert set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)
    assert a["images"].shape[:2] == (2, 2) and a["patch_mask"].any(-1).tolist() == [[False] * 2, [True] * 2]
    ids = model.generate(**a, max_new_tokens=8)
    assert first.batch_decode(ids) == second.batch_decode(ids) and len(ids) == 2
    assert first.decode([0, *first.processor.encode_text("a red cube"), 1, 7]) == "a red cube"
    with pytest.raises(UserError, match="2 prompts and images for 1"):
        first(texts, [PHOTO])


def test_images_of_generated_codes(folder, model):
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor("draw")
    start = torch.tensor([[0, model.config.image_start_id]])
    ids = model.generate(
        **inputs, decoder_input_ids=start, max_new_tokens=model.config.target_tokens, eos_token_id=None
    )
    (image,) = processor.decode_images(ids)
    assert image.pixels.shape == (16, 16, 3)
    with pytest.raises(UserError, match="no whole image"):
        processor.decode_images(ids[:, :-1])


def test_push_to_hub(folder, model, tmp_path, monkeypatch):
    """Into a folder in place of the hub."""

    class Api:
        def create_repo(self, repo_id, **_):
            return SimpleNamespace(repo_id=repo_id)

        def create_commit(self, repo_id, operations, **_):
            for operation in operations:
                target = tmp_path / repo_id / operation.path_in_repo
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(operation.path_or_fileobj, target)
            return repo_id

    card = SimpleNamespace(save=lambda path: open(path, "w").close())
    monkeypatch.setattr(hub, "hf_api", Api)
    monkeypatch.setattr(hub, "create_and_tag_model_card", lambda *_, **__: card)
    for part in (model, AutoProcessor.from_pretrained(folder)):
        part.push_to_hub("me/tiny")
    pushed = tmp_path / "me" / "tiny"
    again = AutoModel.from_pretrained(pushed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    a, b = (AutoProcessor.from_pretrained(where)("what ?", PHOTO) for where in (folder, pushed))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_spread_over_memory_and_disk(run, folder, tmp_path):
    whole = unified.pipeline(run, "cpu")
    sizes = {"cpu": "250KB"}
    split = unified.pipeline(run, device_map="auto", max_memory=sizes, offload_folder=tmp_path)
    assert {"cpu", "disk"} <= set(map(str, split.model.hf_device_map.values()))
    for name in ("caption", "depth"):
        assert split(name, image=PHOTO).to_dict() == whole(name, image=PHOTO).to_dict()
    with pytest.raises(UserError, match="leave one out"):
        unified.pipeline(run, "cpu", device_map="auto")


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision(run, dtype):
    pipe = unified.pipeline(run, "cpu", dtype=dtype)
    assert {p.dtype for p in pipe.model.parameters()} == {
        {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    }
    for name in ("caption", "depth", "mood"):
        pipe(name, image=PHOTO)
    with pytest.raises(UserError, match="dtype 'float8'"):
        unified.pipeline(run, dtype="float8")

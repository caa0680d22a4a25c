"""A checkpoint becomes a model folder that computes what the reference does, and the same file again."""

import hashlib
import json
import shutil

import numpy as np
import official
import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file

import unified
from unified.conversion.flax_msgpack import read
from unified.conversion.from_official import INERT_FILE, convert
from unified.conversion.to_official import convert_back
from unified.errors import UserError
from unified.model import UnifiedModel
from unified.model.official import INERT
from unified.tokenization.vqgan import VQModel

golden = official.golden
REFERENCE = golden.outputs()
# of the file that flax itself wrote for these arrays
FLAX_SHA256 = "fa19d058fd4f7aaa9911cda8aaf9fb83f002e334824f3ecb0dea8317ebbec16f"


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, torch.as_tensor(theirs), atol=tolerance, rtol=0)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_checkpoint_is_what_flax_writes(tiny):
    assert hashlib.sha256(tiny[0].read_bytes()).hexdigest() == FLAX_SHA256


def test_what_the_folder_holds(tiny):
    path, folder = tiny
    assert set(map(str, contents(folder))) == {
        "config.json", "generation_config.json", "model.safetensors", INERT_FILE, "README.md",
        "tokenizer/vqgan.yaml", "tokenizer/vqgan.safetensors", "tasks/index.json",
    }  # fmt: skip
    assert not list(folder.parent.glob(".*"))
    assert len({p.stat().st_mode for p in folder.rglob("*") if p.is_file()}) == 1  # not for the owner alone
    card = (folder / "README.md").read_text()
    assert FLAX_SHA256 in card and f"{path.stat().st_size:,} bytes" in card
    assert "unified convert unified-io tiny_a.bin tiny_a" in card and "Apache" in card
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["UnifiedModel"]


@pytest.mark.parametrize("case", ["case2", "case3"])
def test_logits_through_the_folder(tiny, case):
    asis = golden.config()  # the recipe's images are normalised already
    model = UnifiedModel.from_pretrained(tiny[1], image_mean=asis.image_mean, image_std=asis.image_std).eval()
    targets = golden.targets(case)
    with torch.no_grad():
        out = model(**golden.encoder_inputs(case), **targets)
    close(out.text_logits, REFERENCE[f"{case}/text_logits"][(targets["target_ids"] != 0).numpy()])
    if "target_codes" in targets:
        close(out.image_logits, REFERENCE[f"{case}/image_logits"][targets["target_code_mask"][:, 0].numpy()])


@torch.no_grad()
def test_the_image_tokenizer_through_the_folder(tiny):
    vqgan = VQModel.load(tiny[1] / "tokenizer/vqgan.yaml", tiny[1] / "tokenizer/vqgan.safetensors")
    given = golden.inputs()["case11"]
    latent = vqgan.to_latent(rearrange(torch.from_numpy(given["image"]), "b h w c -> b c h w"))
    close(rearrange(latent, "b d h w -> b h w d"), REFERENCE["case11/z_pre_quant"], 1e-4)
    codes = vqgan.nearest(latent)
    assert (codes.numpy() == REFERENCE["case11/codes"]).all()
    random = torch.from_numpy(given["random_codes"]).long()
    for ids, name in ((codes, "recon"), (random, "random_codes_image")):
        pixels = vqgan.from_latent(vqgan.lookup(ids, (16, 16)))
        close(rearrange(pixels, "b c h w -> b h w c")[:, ::4, ::4], REFERENCE[f"case11/{name}_every4"], 1e-4)
    # the generated images of case 8 come in 0..1
    codes = torch.from_numpy(REFERENCE["case8/image_tokens"][:, 0]).long()
    pixels = rearrange(vqgan.from_latent(vqgan.lookup(codes, (16, 16))), "b c h w -> b h w c")
    close(((pixels + 1) / 2).clamp(0, 1)[:, ::4, ::4], REFERENCE["case8/image_every4"][:, 0], 1e-4)
    whole = vqgan.decode(codes).numpy()[:, ::4, ::4]
    assert np.abs(whole / 255 - REFERENCE["case8/image_every4"][:, 0]).max() < 0.51 / 255
    # and the targets of cases 3 and 4 go in as codes
    for case in ("case3", "case4"):
        images = torch.from_numpy(golden.inputs()[case]["image_decoder_targets"])
        codes = vqgan.nearest(vqgan.to_latent(rearrange(images, "b h w c -> b c h w")))
        assert (codes.numpy() + golden.VOCAB == REFERENCE[f"{case}/image_decoder_tokens"]).all()


def test_back_to_the_same_bytes(tiny, tmp_path):
    convert_back(tiny[1], tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == tiny[0].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.bin"]


def test_shards_and_another_order_of_keys(tiny, tmp_path):
    flat = official.tiny_arrays()
    order = list(reversed(official.flax_order(flat)))
    path = official.write_arrays(tmp_path / "reversed.bin", flat, order)
    told = []
    convert(path, tmp_path / "out", shard_bytes=100_000, on_progress=lambda *said: told.append(said))
    files = sorted(p.name for p in (tmp_path / "out").glob("model-*.safetensors"))
    assert len(files) > 3 and files[-1] == f"model-{len(files):05}-of-{len(files):05}.safetensors"
    sharded, whole = (UnifiedModel.from_pretrained(f).state_dict() for f in (tmp_path / "out", tiny[1]))
    assert sharded.keys() == whole.keys() and all(torch.equal(sharded[name], whole[name]) for name in whole)
    wanted = sum(p.nbytes for p in UnifiedModel.from_pretrained(tiny[1]).state_dict().values())
    assert len(told) == len(files) and told == sorted(told) and told[-1] == (wanted, wanted)
    told.clear()
    back = {"step_bytes": 100_000, "on_progress": lambda *said: told.append(said)}
    convert_back(tmp_path / "out", tmp_path / "again.bin", **back)
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()
    wanted = sum(array.nbytes for array in flat.values())
    assert told == sorted(told) and {total for _, total in told} == {wanted}
    assert 0 < wanted - told[-1][0] < 100_000


def test_small_files_need_no_progress(tiny, tmp_path):
    convert(tiny[0], tmp_path / "out", on_progress=lambda *_: 1 / 0)
    convert_back(tmp_path / "out", tmp_path / "again.bin", on_progress=lambda *_: 1 / 0)


@pytest.mark.parametrize("load", [unified.pipeline, unified.UnifiedProcessor.from_pretrained])
def test_a_vocabulary_without_text_tokenizer_takes_no_prompts(tiny, load):
    with pytest.raises(UserError, match=r"tokenizer: is no whole tokenizer set.* it takes no prompts"):
        load(tiny[1])


def test_a_model_that_was_saved_here(tiny, tmp_path):
    """Without what only a conversion knows: everything that counts is there, the inert weights are zeros."""
    UnifiedModel.from_pretrained(tiny[1]).save_pretrained(tmp_path / "mine")
    shutil.copytree(tiny[1] / "tokenizer", tmp_path / "mine/tokenizer")
    notes = convert_back(tmp_path / "mine", tmp_path / "mine.bin")
    assert "the two weights without effect are zeros" in notes[0]
    theirs, ours = read(tiny[0]), read(tmp_path / "mine.bin")
    assert list(ours) == list(theirs)
    for key, leaf in ours.items():
        wanted = theirs[key].array()
        assert (leaf.array() == (np.zeros_like(wanted) if key in INERT else wanted)).all()


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop(INERT[0]), f"1 of 426 keys are missing, the first is {INERT[0]} (48, 24)"),
        (lambda f: f.update(extra=np.zeros(3, np.float32)), "the first is extra (3,)"),
        (
            lambda f: f.update({"decoder/pre_ln/scale": np.zeros(48, np.float16)}),
            "decoder/pre_ln/scale (48,): is float16; official checkpoints are float32",
        ),
    ],
)
def test_a_checkpoint_that_is_not_whole(tmp_path, change, message):
    flat = official.tiny_arrays()
    change(flat)
    path = official.write_arrays(tmp_path / "x.bin", flat)
    with pytest.raises(UserError) as error:
        convert(path, tmp_path / "out")
    assert message in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_nothing_is_left_when_writing_fails(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("unified.conversion.from_official.write_tasks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert(tiny[0], tmp_path / "out")
    monkeypatch.setattr("unified.conversion.to_official.to_official", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert_back(tiny[1], tmp_path / "out.bin")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_known_before(tiny, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="the disk has 1,000 left"):
        convert(tiny[0], tmp_path / "out")


def images_index(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.image_index.weight"][1, 2] = 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def config_of(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (images_index, "encoder.image_index.weight is not zero"),
        (lambda f: config_of(f, patch_embed="conv"), "'conv'; the official model has 'patches' and 'linear'"),
        (lambda f: config_of(f, d_ff=81), "keys have other shapes, the first is decoder/layers_0/mlp/wi_0"),
        (lambda f: config_of(f, encoder_layers=3), "keys are missing, the first is encoder/layers_2/"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: there is no such file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "not a safetensors file"),
        (lambda f: (f / INERT_FILE).write_bytes(b"x" * 99), "not a safetensors file"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "index.json: cannot be read"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "holds no image tokenizer"),
        (lambda f: (f / "tokenizer/vqgan.safetensors").unlink(), "vqgan.safetensors: no such file"),
    ],
)
def test_a_folder_that_is_no_official_model(tiny, tmp_path, change, message):
    shutil.copytree(tiny[1], tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(UserError) as error:
        convert_back(tmp_path / "model", tmp_path / "out.bin")
    assert message in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]

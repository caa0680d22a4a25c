"""VQModel against taming's own modules, on a small random checkpoint in the released format."""

import contextlib
import io
import sys
import types

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import save_file
from taming.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.vqvae.quantize import VectorQuantizer2

from unified.errors import UserError
from unified.tokenization import vqgan_cpu
from unified.tokenization.vqgan import VQConfig, VQModel, read_weights

SHAPE = {
    "double_z": False, "z_channels": 16, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
    "ch_mult": [1, 1, 2], "num_res_blocks": 1, "attn_resolutions": [8], "dropout": 0.0,
}  # fmt: skip
CONFIG = """
model:
  base_learning_rate: 4.5e-06
  target: taming.models.vqgan.VQModel
  params:
    embed_dim: 8
    n_embed: 64
    monitor: val/rec_loss
    ddconfig:
      double_z: false
      z_channels: 16
      resolution: 32
      in_channels: 3
      out_ch: 3
      ch: 32
      ch_mult: [1, 1, 2]
      num_res_blocks: 1
      attn_resolutions: [8]
      dropout: 0.0
    lossconfig:
      target: taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator
      params: {disc_conditional: false, disc_start: 10000}
"""


class TamingModel(torch.nn.Module):
    """taming.models.vqgan.VQModel (which no longer imports), by its own parts and arithmetic."""

    def __init__(self):
        super().__init__()
        with contextlib.redirect_stdout(io.StringIO()):
            self.encoder, self.decoder = Encoder(**SHAPE), Decoder(**SHAPE)
        self.quantize = VectorQuantizer2(64, 8, beta=0.25)
        self.quant_conv = torch.nn.Conv2d(16, 8, 1)
        self.post_quant_conv = torch.nn.Conv2d(8, 16, 1)

    @torch.no_grad()
    def forward(self, pixels):
        """(B, H, W, 3) uint8 -> codes (B, n), reconstruction (B, 3, H, W)."""
        x = rearrange(pixels.float() / 127.5 - 1, "b h w c -> b c h w").contiguous()
        quantised, _, (_, _, codes) = self.quantize(self.quant_conv(self.encoder(x)))
        return codes.view(len(x), -1), self.decoder(self.post_quant_conv(quantised))


@pytest.fixture(scope="module")
def taming():
    torch.manual_seed(0)
    model = TamingModel().eval()
    model.quantize.embedding.weight.data.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (7, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    return torch.from_numpy((smooth * 0.7 + rng.integers(0, 70, (7, 32, 32, 3))).astype(np.uint8))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "vqgan.yaml"
    path.write_text(CONFIG)
    return path


def released(taming, monkeypatch):
    """What the released files hold: Lightning's wrapper, the loss's weights, a callback by its class."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": name, "__qualname__": "ModelCheckpoint"})
    module = types.ModuleType(name)
    module.ModelCheckpoint = callback
    monkeypatch.setitem(sys.modules, name, module)
    state = {
        **taming.state_dict(),
        "loss.discriminator.main.0.weight": torch.zeros(4, 3, 4, 4),
        "loss.logvar": torch.zeros(()),
    }
    return {
        "epoch": 3, "global_step": 100, "pytorch-lightning_version": "1.0.8",
        "callbacks": {callback: {"best_model_score": torch.tensor(1.0), "best_model_path": "x"}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]}],
        "lr_schedulers": [], "state_dict": state,
    }  # fmt: skip


@pytest.mark.parametrize("form", ["released", "bare", "safetensors"])
def test_codes_and_pixels_equal_tamings(form, taming, pixels, config, tmp_path, monkeypatch):
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.ckpt")
    if form == "safetensors":
        save_file(taming.state_dict(), path)
    else:
        torch.save(released(taming, monkeypatch) if form == "released" else taming.state_dict(), path)
    model = VQModel.load(config, path)
    codes, shown = taming(pixels)
    assert len(codes.unique()) > 20, "a test of few codes proves little"
    assert torch.equal(model.encode(pixels), codes)
    wanted = ((shown + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1)
    got = model.decode(codes).float()
    assert (got - wanted).abs().max() <= 1 and (got != wanted).float().mean() < 1e-3  # ties of rounding
    assert model.factor == 4 and codes.shape == (7, 64)


def test_codes_do_not_depend_on_the_batch(toy):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (7, 64, 64, 3)).astype(np.uint8)
    images[:3] = images[:3, :1, :1]  # flat images, where group norm magnifies rounding
    together = toy.image.encode(images)
    alone = torch.cat([toy.image.encode(image[None]) for image in images])
    assert torch.equal(together, alone)
    order = torch.tensor([6, 2, 0, 5, 1, 4, 3])
    many = torch.from_numpy(images)[order].repeat(3, 1, 1, 1)
    assert torch.equal(toy.image.encode(many), together[order].repeat(3, 1))
    assert torch.equal(toy.image.encode(images.astype(np.float32)), together)


@pytest.mark.parametrize("narrow", [1, 1000], ids=["winograd", "direct"])
def test_large_images_in_strips_have_the_same_codes(narrow, taming, pixels, config, tmp_path, monkeypatch):
    monkeypatch.setattr(vqgan_cpu, "SMALL", 0)
    monkeypatch.setattr(vqgan_cpu, "NARROW", narrow)
    monkeypatch.setattr(vqgan_cpu, "STRIP", 2**14)  # four rows of the first map
    torch.save(taming.state_dict(), tmp_path / "w.ckpt")
    model = VQModel.load(config, tmp_path / "w.ckpt")
    codes, _ = taming(pixels)
    assert torch.equal(model.encode(pixels), codes)
    assert torch.equal(model.encode(pixels[3:4]), codes[3:4])
    images = pixels.float() / 127.5 - 1
    plain = model.to_latent(rearrange(images, "b h w c -> b c h w")).detach()
    strips = torch.cat([model._on_cpu(image[None]) for image in images])
    assert (plain - strips).abs().max() < 1e-5 * plain.abs().max()
    oblong = pixels[:, :12, :20]  # maps of an odd number of rows
    assert torch.equal(model.encode(oblong), taming(oblong)[0])


def test_changed_weights_change_the_codes(taming, pixels, config, tmp_path, monkeypatch):
    monkeypatch.setattr(vqgan_cpu, "SMALL", 0)
    monkeypatch.setattr(vqgan_cpu, "NARROW", 1)
    torch.save(taming.state_dict(), tmp_path / "w.ckpt")
    model = VQModel.load(config, tmp_path / "w.ckpt")
    before = model.encode(pixels)
    for weight in model.encoder.parameters():
        weight.copy_(weight + 0.05 * torch.randn(weight.shape, generator=torch.manual_seed(1)))
    after = model.encode(pixels)
    assert not torch.equal(before, after)
    model._on_cpu._weights.clear()
    assert torch.equal(model.encode(pixels), after)


def test_a_model_may_be_loaded_in_inference_mode(taming, pixels, config, tmp_path, monkeypatch):
    torch.save(taming.state_dict(), tmp_path / "w.ckpt")
    codes, _ = taming(pixels)
    for small in (2**22, 0):
        monkeypatch.setattr(vqgan_cpu, "SMALL", small)
        with torch.inference_mode():
            model = VQModel.load(config, tmp_path / "w.ckpt")
            assert torch.equal(model.encode(pixels), codes)
        outside = model.encode(pixels)
        assert torch.equal(outside, codes) and not outside.is_inference()
        latent = torch.zeros(1, 8, 2, 2, requires_grad=True)
        assert model.nearest(latent).shape == (1, 4)


def test_autocast_around_it_changes_nothing(toy):
    images = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    plain = toy.image.encode(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(toy.image.encode(images), plain)
        assert torch.equal(toy.image.decode(plain), toy.image.decode(plain))


def test_empty_batches_and_oblong_images(toy):
    assert toy.image.encode(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 64)
    codes = toy.image.encode(np.zeros((1, 32, 64, 3), np.uint8))
    assert codes.shape == (1, 32)
    assert toy.image.decode(codes, grid=(4, 8)).shape == (1, 32, 64, 3)


def test_loading_is_exact(toy):
    """bfloat16 on disk, so float32 in memory has nothing to round."""
    state = read_weights(toy.folder / toy.config.image.weights)
    assert all(torch.equal(v, v.bfloat16().float()) for v in state.values())
    assert (toy.folder / toy.config.image.weights).stat().st_size <= 4 * 2**20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("quant_conv.bias"), "missing, e.g. quant_conv.bias"),
        (lambda s: s.update({"extra.weight": torch.zeros(1)}), "unexpected, e.g. extra.weight"),
        (lambda s: s.update({"quant_conv.bias": torch.zeros(9)}), "of another shape, e.g. quant_conv.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, said, taming, config, tmp_path):
    state = dict(taming.state_dict())
    change(state)
    torch.save(state, tmp_path / "w.ckpt")
    with pytest.raises(UserError, match=said):
        VQModel.load(config, tmp_path / "w.ckpt")


def test_no_pickled_code_runs(config, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    torch.save({"state_dict": {}, "x": Bomb()}, tmp_path / "w.ckpt")
    with pytest.raises(UserError, match="convert it to .safetensors"):
        VQModel.load(config, tmp_path / "w.ckpt")
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a safetensors file"):
        VQModel.load(config, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="no such file"):
        VQModel.load(config, tmp_path / "none.ckpt")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("taming.models.vqgan.VQModel", "taming.models.vqgan.GumbelVQ", "only taming.models.vqgan.VQModel"),
        ("n_embed: 64", "n_embed: many", "model.params.n_embed"),
        ("      ch: 32\n", "", "model.params.ddconfig.ch: field required"),
        ("monitor: val/rec_loss", "remap: used.npy", "remapped"),
        ("model:", "modle:", "no `model.params`"),
    ],
)
def test_configs_that_cannot_be_used_say_why(before, after, said, config):
    config.write_text(CONFIG.replace(before, after))
    with pytest.raises(UserError, match=said):
        VQConfig.load(config)


def test_wrong_pixels_and_codes_are_refused(toy):
    with pytest.raises(UserError, match="multiples of 8"):
        toy.image.encode(np.zeros((1, 60, 64, 3), np.uint8))
    with pytest.raises(UserError, match="outside"):
        toy.image.decode(np.full((1, 64), 1024))
    with pytest.raises(UserError, match="do not fill"):
        toy.image.decode(np.zeros((1, 63), int))

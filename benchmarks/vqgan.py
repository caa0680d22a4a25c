"""Images/s of VQModel.encode beside taming's own modules (Encoder, quant_conv and VectorQuantizer2, as
VQModel.encode of taming calls them: the full distance matrix), with the same weights, in turns in one run.

    python benchmarks/vqgan.py                 # the released f16 shape with random weights, and the toy set
    python benchmarks/vqgan.py --only toy --repeats 20

Each line is the median over the repeats, after one that is not counted. `equal` is the share of codes in
which both agree. taming gets the batch at which it is fastest of 1 and 8.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import PIL.Image
import torch
from einops import rearrange
from torch import Tensor

from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.load import load_task
from unified.specs.paths import resource
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.tokenization.vqgan import VQConfig, VQModel
from unified.values.types import Image


class Taming(torch.nn.Module):
    """taming.models.vqgan.VQModel.encode, whose module no longer imports, by its own parts."""

    def __init__(self, model: VQModel) -> None:
        super().__init__()
        from taming.modules.diffusionmodules.model import Encoder
        from taming.modules.vqvae.quantize import VectorQuantizer2

        config = model.config
        with contextlib.redirect_stdout(io.StringIO()):
            self.encoder = Encoder(**config.ddconfig.model_dump())
        self.quantize = VectorQuantizer2(config.n_embed, config.embed_dim, beta=config.beta)
        self.quant_conv = torch.nn.Conv2d(config.ddconfig.z_channels, config.embed_dim, 1)
        self.load_state_dict(model.state_dict(), strict=False)

    @torch.no_grad()
    def encode(self, pixels: Tensor, batch: int) -> Tensor:
        """pixels (N, H, W, 3) uint8 -> codes (N, n)."""
        codes = []
        for part in pixels.split(batch):
            x = rearrange(part.float() / 127.5 - 1, "b h w c -> b c h w").contiguous()
            _, _, (_, _, found) = self.quantize(self.quant_conv(self.encoder(x)))
            codes.append(found.view(len(x), -1))
        return torch.cat(codes)


def released() -> VQModel:
    """The f16 network of Unified-IO with random weights, its codebook as wide as its latents."""
    torch.manual_seed(0)
    model = VQModel(VQConfig.load(resource("tokenizers") / "unified_io" / "vqgan.yaml")).eval()
    latent = model.to_latent(rearrange(pictures(1, 256).float() / 127.5 - 1, "b h w c -> b c h w"))
    with torch.no_grad():
        model.codebook.normal_(float(latent.mean()), float(latent.std()))
    return model.requires_grad_(False)


def pictures(count: int, side: int) -> Tensor:
    """Pictures of the built-in world, (count, side, side, 3) uint8."""
    task = load_task("toybox_caption")
    rows = open_source(task, "validation")
    found = []
    for i in range(count):
        image = read_fields(task, rows[i], rows)["image"]
        assert isinstance(image, Image)
        found.append(
            np.array(PIL.Image.fromarray(image.pixels).resize((side, side), PIL.Image.Resampling.BICUBIC))
        )
    return torch.from_numpy(np.stack(found))


def compare(name: str, model: VQModel, side: int, count: int, repeats: int) -> None:
    taming, images = Taming(model).eval(), pictures(count, side)
    runs: dict[str, Callable[[], Tensor]] = {
        "unified": lambda: model.encode(images),
        "taming, batch 1": lambda: taming.encode(images, 1),
        "taming, batch 8": lambda: taming.encode(images, 8),
    }
    codes = {key: run() for key, run in runs.items()}
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(repeats):
        for key, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - started)
    middle = {key: statistics.median(times) for key, times in seconds.items()}
    best = min(list(runs)[1:], key=lambda key: middle[key])
    ratio = statistics.median(
        theirs / ours for ours, theirs in zip(seconds["unified"], seconds[best], strict=True)
    )
    equal = float((codes["unified"] == codes[best]).float().mean())
    print(
        f"{name:24}{count / middle['unified']:>9.2f}/s{count / middle[best]:>9.2f}/s ({best}){ratio:>8.2f}"
        f"   equal {equal:.6f} of {codes[best].numel()} codes, {len(codes[best].unique())} of them different",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Image codes beside taming's own modules, images/s on the CPU."
    )
    parser.add_argument("--only", choices=["released", "toy"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print(f"float32, {torch.get_num_threads()} threads, median of {args.repeats}")
    print(f"{'':24}{'unified':>11}{'taming':>11}{'':18}{'ratio':>8}")
    if args.only != "toy":
        compare("f16, 256 px, ch 128", released(), 256, 4, args.repeats)
    if args.only != "released":
        compare("toy set, f8, 64 px", TokenizerSet.load("toy").image, 64, 64, 4 * args.repeats)


if __name__ == "__main__":
    main()

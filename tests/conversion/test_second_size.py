"""The recipe's second size, of the official vocabulary: from container to what the official runner does."""

import json

import numpy as np
import official
import pytest
import torch

import unified
from unified.conversion.architecture import Architecture
from unified.conversion.from_official import convert
from unified.model import UnifiedConfig
from unified.tokenization.vqgan import NetworkConfig, VQConfig

recipe = official.golden.recipe
WANTED = json.loads((official.golden.ASSETS / "tiny_b.json").read_text())
WIDE, TALL = recipe.synth_uint8(426, 640, 1), recipe.synth_uint8(640, 425, 2)
OPTIONS = ["a cat", "dog", "hotel room", "the quick brown fox jumps over the lazy dog", "x"]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny_b")
    size, image = recipe.TINY_B, dict(recipe.VAE_B)
    config = UnifiedConfig(
        d_model=size["emb_dim"], num_heads=size["num_heads"], head_dim=size["head_dim"],
        encoder_layers=size["num_encoder_layers"], decoder_layers=size["num_decoder_layers"],
        d_ff=size["mlp_dim"], num_segments=size["num_seg_emb"],
    )  # fmt: skip
    own = {name: image[name] for name in NetworkConfig.model_fields if name in image}
    vqgan = VQConfig(embed_dim=32, n_embed=16384, ddconfig=NetworkConfig(**own))
    flat = recipe.det_params(Architecture(config, vqgan).manifest, size["head_dim"], "tiny_b")
    mu, sigma = (np.array(WANTED[f"codebook_{name}"], np.float32) for name in ("mu", "sigma"))
    path = official.write_arrays(folder / "tiny_b.bin", recipe.with_codebook(flat, mu, sigma))
    convert(path, folder / "out")
    return unified.pipeline(folder / "out", "cpu", strict=True)


def test_ranking(pipe):
    asked = {"image": WIDE, "options": OPTIONS}
    scores = pipe.rank("image_classification_options", OPTIONS, **asked)
    np.testing.assert_allclose(scores, -np.array(WANTED["text_options"]), atol=1e-3, rtol=0)
    means = pipe.rank("image_classification_options", OPTIONS, average=True, **asked)
    np.testing.assert_allclose(means, -np.array(WANTED["text_options_mean"]), atol=1e-4, rtol=0)
    images = [
        recipe.synth_uint8(*size, seed) for *size, seed in ((256, 256, 7), (200, 300, 8), (700, 300, 9))
    ]
    scores = pipe.rank("What is the depth map of the image ?", images, image=WIDE)
    np.testing.assert_allclose(scores, -np.array(WANTED["image_options"]), atol=1e-3, rtol=0)
    means = pipe.rank("What is the depth map of the image ?", images, image=WIDE, average=True)
    seen = np.array([256, 16 * 11, 7 * 16])  # codes that are not padding
    np.testing.assert_allclose(means, scores / seen, atol=1e-4, rtol=0)


def test_an_image_by_greedy_search(pipe):
    result, wanted = pipe("depth", image=WIDE, generation={"do_sample": False}), WANTED["depth"]
    assert list(result.codes) == wanted["codes"]
    assert abs(result.score - wanted["score"]) < 1e-3
    vqgan = pipe._predictor._image_tokenizer()
    with torch.no_grad():
        pixels = vqgan.from_latent(vqgan.lookup(torch.tensor([result.codes]), (16, 16)))[0]
    pixels = ((pixels + 1) / 2).clamp(0, 1).permute(1, 2, 0)[::16, ::16]
    np.testing.assert_allclose(pixels, wanted["image_every16"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_three_beams_for_two_prompts(pipe):
    """The reference searches for the whole length, and once more for a code that nobody asked for."""
    prompts, predictor = ["What does the image describe ?", "what is it ?"], pipe._predictor
    questions = [pipe.question(p, i) for p, i in zip(prompts, (WIDE, TALL), strict=True)]
    inputs = predictor._inputs([predictor.processor.encode(q.example, q.task) for q in questions])
    config, memory = pipe.model.config, pipe.model.encode(**inputs)
    out = pipe.model.generate(
        encoder_outputs=memory, max_new_tokens=12, num_beams=3, num_return_sequences=3, do_sample=False,
        eos_token_id=None, length_penalty=0.0, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    inner = type(memory)(**{name: value.repeat_interleave(3, 0) for name, value in memory.items()})
    last = torch.cat([out.sequences[:, :-1], torch.full((6, 1), config.image_start_id)], 1)
    steps = pipe.model(encoder_outputs=inner, decoder_input_ids=last).logits[:, -1].log_softmax(-1)
    scores, at = (out.sequences_scores[:, None] + steps).view(2, -1).topk(3)
    beams, codes = at // config.total_vocab_size, at % config.total_vocab_size
    text = out.sequences.view(2, 3, -1)[:, :, 1:].gather(1, beams[..., None].expand(-1, -1, 12))
    assert torch.cat([text, codes[..., None]], -1).flip(1).tolist() == WANTED["beams"]["tokens"]
    np.testing.assert_allclose(scores.flip(1), WANTED["beams"]["scores"], atol=1e-3, rtol=0)

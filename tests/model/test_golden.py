"""Agreement with the official code, on its own outputs."""

import json

import golden
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import LogitsProcessor, LogitsProcessorList, TopPLogitsWarper

from unified.model import SIZES, UnifiedConfig, UnifiedModel
from unified.model.official import IMAGE_TOKENIZER, INERT, official_key, official_shape
from unified.model.positions import image_bucket, text_bucket

REFERENCE = golden.outputs()


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, torch.as_tensor(theirs), atol=tolerance, rtol=0)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("case", ["case1", "case2", "case3", "case4", "case14"])
def test_teacher_forced_logits(case, backend):
    model = golden.model()
    model.set_attn_implementation(backend)
    targets = golden.targets(case)
    with torch.no_grad():
        out = model(**golden.encoder_inputs(case), **targets)
    close(out.text_logits, REFERENCE[f"{case}/text_logits"][(targets["target_ids"] != 0).numpy()])
    if "target_codes" in targets:
        close(out.image_logits, REFERENCE[f"{case}/image_logits"][targets["target_code_mask"][:, 0].numpy()])
    else:
        assert out.image_logits is None


def test_encoder_output():
    with torch.no_grad():
        out = golden.model().encode(**golden.encoder_inputs("case2"))
    seen = REFERENCE["case2/encoder_masks"].astype(bool)
    assert (out.segments.numpy() == seen).all()
    close(out.last_hidden_state[torch.from_numpy(seen)], REFERENCE["case2/encoded"][seen])


def test_the_index_of_images_does_not_change_a_model_of_one_image():
    with torch.no_grad():
        one, four = (
            golden.model(max_images=n)(**golden.encoder_inputs("case2"), **golden.targets("case2"))
            for n in (1, 4)
        )
    assert torch.equal(one.text_logits, four.text_logits)


def test_bucket_tables():
    tables = dict(np.load(golden.ASSETS / "buckets.npz"))
    for name in ("bidirectional", "causal"):
        assert (text_bucket(tables["rel"].astype(np.int64), name == "bidirectional") == tables[name]).all()
    dx, dy = tables["image_dx"].astype(np.int64), tables["image_dy"].astype(np.int64)
    assert (image_bucket(dx, dy) == tables["image"]).all()


# ---------------------------------------------------------------- decoding

SCORED = {"return_dict_in_generate": True, "output_scores": True}
GREEDY = {"do_sample": False, "eos_token_id": None}  # the reference always runs to the full length


def log_probs(model, case, ids):
    """Of the last id of (B, L) generation sequences, over the whole vocabulary."""
    encoded = model.encode(**golden.encoder_inputs(case))
    repeats = len(ids) // len(encoded.segments)
    for name, value in encoded.items():
        encoded[name] = value.repeat_interleave(repeats, 0)
    return model(encoder_outputs=encoded, decoder_input_ids=ids).logits[:, -1].log_softmax(-1)


def with_image_start(model, ids):
    """The reference replaces the last text token by the start of an image of one code."""
    return torch.cat([ids[:, :-1], torch.full_like(ids[:, :1], model.config.image_start_id)], 1)


@torch.no_grad()
def test_greedy_text():
    model = golden.model()
    out = model.generate(**golden.encoder_inputs("case6"), max_new_tokens=12, **SCORED, **GREEDY)
    tokens = REFERENCE["case6/text_tokens"][:, 0]
    assert (out.sequences[:, 1:].numpy() == tokens[:, :12]).all()
    last, code = log_probs(model, "case6", with_image_start(model, out.sequences)).max(-1)
    assert (code.numpy() == tokens[:, 12]).all()
    close(total(model, out) + last, REFERENCE["case6/scores"][:, 0], 1e-3)


@torch.no_grad()
def test_beam_search_of_three():
    model = golden.model()
    out = model.generate(
        **golden.encoder_inputs("case6"),
        max_new_tokens=12,
        num_beams=3,
        num_return_sequences=3,
        length_penalty=0.0,
        **SCORED,
        **GREEDY,
    )
    # its last step, over the one code of an image, chooses again among the beams
    last = log_probs(model, "case6", with_image_start(model, out.sequences))
    sums = (out.sequences_scores[:, None] + last).view(2, -1)
    scores, at = sums.topk(3)
    beams, codes = at // model.config.total_vocab_size, at % model.config.total_vocab_size
    text = out.sequences.view(2, 3, -1)[:, :, 1:].gather(1, beams[..., None].expand(-1, -1, 12))
    ours = torch.cat([text, codes[..., None]], -1).flip(1)  # the reference lists the best one last
    assert (ours.numpy() == REFERENCE["case7/text_tokens"]).all()
    close(scores.flip(1), REFERENCE["case7/scores"], 1e-3)


def paint(model, start):
    """Codes (B, 256) and their summed log-probability, greedily after (B, L) ids."""
    out = model.generate(
        **golden.encoder_inputs("case8"), decoder_input_ids=start, max_new_tokens=256, **SCORED, **GREEDY
    )
    return out.sequences[:, -256:].numpy() - golden.VOCAB, total(model, out)


def total(model, out):
    """(B,) the summed log-probability of what was generated."""
    return model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True).sum(1)


@torch.no_grad()
def test_greedy_image():
    model = golden.model()
    start = torch.zeros(2, 1, dtype=torch.long)
    codes, score = paint(model, F.pad(start, (0, 1), value=model.config.image_start_id))
    assert (codes == REFERENCE["case8/image_tokens"][:, 0]).all()
    # a text token is chosen before the image, counted, and replaced by the image's start
    close(score + log_probs(model, "case8", start).amax(-1), REFERENCE["case8/scores"][:, 0], 1e-3)


class Forbid(LogitsProcessor):
    def __init__(self, masks):
        self.masks = torch.from_numpy(masks)

    def __call__(self, input_ids, scores):
        return scores.masked_fill(self.masks[input_ids.shape[1] - 1], -torch.inf)


@torch.no_grad()
def test_constrained_text_with_a_forced_end_then_an_image():
    """What follows EOS in the text must be invisible to the image."""
    model = golden.model()
    given = golden.inputs()["case12"]
    text = model.generate(
        **golden.encoder_inputs("case8"),
        max_new_tokens=given["text_length"],
        logits_processor=LogitsProcessorList([Forbid(given["logit_masks"])]),
        **SCORED,
        **GREEDY,
    )
    assert (text.sequences[:, 1:].numpy() == REFERENCE["case12/text_tokens"][:, 0]).all()
    codes, score = paint(model, with_image_start(model, text.sequences))
    assert (codes == REFERENCE["case12/image_tokens"][:, 0]).all()
    close(total(model, text) + score, REFERENCE["case12/scores"][:, 0], 1e-3)


@pytest.mark.parametrize("max_rows", [2, 512])
def test_ranking_of_answers(max_rows):
    options = F.pad(torch.from_numpy(golden.inputs()["case10"]["output_options"]).long(), (0, 1))
    lengths = (options > 0).sum(-1)
    twice = options.scatter(2, lengths[..., None], 1)  # the reference counts the end of an answer twice
    scores = golden.model().rank_options(twice, max_rows=max_rows, **golden.encoder_inputs("case6"))
    close(-scores, REFERENCE["case10/sum"], 1e-3)
    close(-scores / (lengths + 1), REFERENCE["case10/mean"], 1e-3)


# ---------------------------------------------------------------- official shapes

TOTALS = {
    "small": (550, 147_767_043),
    "base": (642, 317_520_771),
    "large": (918, 852_622_211),
    "xl": (918, 2_925_235_075),
}
VQGAN = (343, 76_073_859)


@pytest.mark.parametrize("size", TOTALS)
def test_official_sizes_have_the_official_parameters(size):
    manifest = {
        k: tuple(v) for k, v in json.loads((golden.ASSETS / f"shapes_{size}.json").read_text()).items()
    }
    with torch.device("meta"):
        model = UnifiedModel(UnifiedConfig.of_size(size, max_images=1))
    ours = {}
    for name, parameter in model.named_parameters():
        key = official_key(name)
        ours[key] = official_shape(key, parameter.shape)
    theirs = {k: v for k, v in manifest.items() if not k.startswith(IMAGE_TOKENIZER) and k not in INERT}
    assert ours == theirs
    tensors, numbers = TOTALS[size]
    assert len(ours) == tensors - VQGAN[0] - len(INERT)
    inert = sum(int(np.prod(manifest[k])) for k in INERT)
    assert sum(p.numel() for p in model.parameters()) == numbers - VQGAN[1] - inert


def test_toy_is_small():
    with torch.device("meta"):
        model = UnifiedModel(UnifiedConfig.of_size("toy"))
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 3e6
    assert set(SIZES) == {"toy", *TOTALS}


# ---------------------------------------------------------------- images of another size


@torch.no_grad()
def test_images_of_another_size():
    """256 x 256 pixels for a model of 384: its table of positions is resized."""
    given = golden.inputs()["case5"]
    out = golden.model().encode(
        input_ids=torch.from_numpy(given["text_encoder_inputs"]).long(),
        images=torch.from_numpy(given["image_encoder_inputs"])[:, None],
    )
    assert out.segments.all()
    close(out.last_hidden_state, REFERENCE["case5/encoded"])


# ---------------------------------------------------------------- sampled texts


@torch.no_grad()
def test_scores_of_nucleus_samples():
    """Their random keys are not torch's, so their own samples are scored under the same cut: the smallest
    set of likeliest ids that reaches 0.9."""
    model, nucleus = golden.model(), TopPLogitsWarper(0.9)
    tokens = torch.from_numpy(REFERENCE["case9/text_tokens"]).long().flatten(0, 1)
    encoded = model.encode(**golden.encoder_inputs("case6"))
    for name, value in encoded.items():
        encoded[name] = value.repeat_interleave(2, 0)
    sequence = F.pad(tokens[:, :-1], (1, 0))
    logits = model(encoder_outputs=encoded, decoder_input_ids=with_image_start(model, sequence)).logits
    logp = torch.stack([nucleus(tokens, step).log_softmax(-1) for step in logits.unbind(1)], 1)
    close(logp.gather(2, tokens[..., None])[..., 0].sum(1).view(2, 2), REFERENCE["case9/scores"], 1e-3)


# ---------------------------------------------------------------- ranking of images


@pytest.mark.parametrize("max_rows", [1, 64])
@torch.no_grad()
def test_ranking_of_images(max_rows):
    """Against each image by itself, teacher-forced."""
    model, inputs = golden.model(), golden.encoder_inputs("case6")
    codes = torch.randint(0, golden.CODES, (2, 3, 256), generator=torch.Generator().manual_seed(0))
    mask = torch.from_numpy(golden.inputs()["case13"]["output_options_masks"]).bool()[None].repeat(2, 1, 1)
    mask[1, 2] = False
    scores = model.rank_images(codes, mask, max_rows=max_rows, **inputs)
    raw = model.rank_images(codes, mask, max_rows=max_rows, raw_context=True, **inputs)
    end = torch.ones(2, 1, dtype=torch.long)
    for n in range(3):
        one, seen = codes[:, n : n + 1], mask[:, n : n + 1]
        out = model(**inputs, target_ids=end, target_codes=one, target_code_mask=seen)
        picked = out.image_logits.log_softmax(-1).gather(1, one[seen][:, None])[:, 0]
        wanted = torch.zeros(seen.shape).masked_scatter(seen, picked).sum((1, 2))
        if n == 2:
            assert scores[1, n] == raw[1, n] == -torch.inf
        there = seen.any(2)[:, 0]
        close(scores[:, n][there], wanted[there], 1e-3)
        # the reference's mistake: the same targets after inputs without the offset
        encoded = model.encode(**inputs)
        sequence = F.pad(one[:, 0, :-1], (2, 0))
        sequence[:, 1] = model.config.image_start_id
        if seen.all():
            logits = model(encoder_outputs=encoded, decoder_input_ids=sequence).logits[:, 1:, golden.VOCAB :]
            picked = logits.log_softmax(-1).gather(2, one[:, 0, :, None])[..., 0]
            close(raw[:, n], picked.sum(1), 1e-3)
            assert (raw[:, n] - scores[:, n]).abs().min() > 0.1

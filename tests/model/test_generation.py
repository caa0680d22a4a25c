"""Decoding step by step, `generate` with its options, guidance, ranking."""

import pytest
import small
import torch
import torch.nn.functional as F
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

START = 39  # image_start in small.config()
PROMPTS = {"input_ids": torch.tensor([[5, 6, 7, 1], [8, 9, 1, 0]])}
WITH_IMAGES = PROMPTS | {
    "images": torch.randint(
        0, 256, (2, 1, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ),
    "patch_mask": torch.tensor([[[True] * 4], [[False] * 4]]),
}
TEXT = torch.tensor([[4, 9, 30, 1], [11, 1, 0, 0]])
CODES = torch.randint(0, 11, (2, 1, 9), generator=torch.Generator().manual_seed(1))


def step_by_step(model, sequence, **inputs):
    """Logits (B, L, V) of a generation sequence, one id at a time through the cache."""
    encoded, cache, out = model.encode(**inputs), None, []
    for n in range(1, sequence.shape[1] + 1):
        result = model(
            encoder_outputs=encoded, decoder_input_ids=sequence[:, :n], cache=cache, use_cache=True
        )
        cache = result.cache
        assert result.logits.shape[1] == 1
        out.append(result.logits)
    return torch.cat(out, 1)


# ---------------------------------------------------------------- cached, whole, teacher-forced


@torch.no_grad()
def test_cached_text_equals_teacher_forcing():
    model = small.model()
    forced = model(**WITH_IMAGES, target_ids=TEXT).text_logits
    sequence = F.pad(TEXT[:, :-1], (1, 0))
    for logits in (
        step_by_step(model, sequence, **WITH_IMAGES),
        model(**WITH_IMAGES, decoder_input_ids=sequence).logits,
    ):
        torch.testing.assert_close(logits[..., :40][TEXT != 0], forced, atol=1e-5, rtol=0)
        assert (logits[..., 40:] == -1e10).all()


@torch.no_grad()
def test_cached_image_equals_teacher_forcing():
    model = small.model()
    end = torch.ones(2, 1, dtype=torch.long)
    forced = model(**WITH_IMAGES, target_ids=end, target_codes=CODES).image_logits
    sequence = torch.cat([torch.tensor([[0, START]] * 2), CODES[:, 0, :-1] + 40], 1)
    for logits in (
        step_by_step(model, sequence, **WITH_IMAGES),
        model(**WITH_IMAGES, decoder_input_ids=sequence).logits,
    ):
        torch.testing.assert_close(logits[:, 1:, 40:].flatten(0, 1), forced, atol=1e-5, rtol=0)
        assert (logits[:, 1:, :40] == -1e10).all() and (logits[:, 0, 40:] == -1e10).all()


@torch.no_grad()
def test_text_and_image_rows_share_a_batch():
    """Each row's kind follows from its own ids."""
    model = small.model()
    image = torch.cat([torch.tensor([[0, START]]), CODES[:1, 0, :2] + 40], 1)
    text = F.pad(TEXT[1:, :3], (1, 0))
    both = step_by_step(model, torch.cat([image, text]), **WITH_IMAGES)
    for row, sequence in enumerate((image, text)):
        inputs = {k: v[row : row + 1] for k, v in WITH_IMAGES.items()}
        torch.testing.assert_close(
            both[row : row + 1], step_by_step(model, sequence, **inputs), atol=1e-5, rtol=0
        )


@torch.no_grad()
def test_text_after_its_end_is_not_seen():
    model = small.model()
    first, second = torch.tensor([[0, 5, 1, 7, START, 44]] * 2), torch.tensor([[0, 5, 1, 33, START, 44]] * 2)
    a, b = (step_by_step(model, s, **PROMPTS) for s in (first, second))
    assert torch.equal(a[:, 4:], b[:, 4:]) and not torch.allclose(a[:, 3], b[:, 3])
    seen = torch.tensor([[0, 6, 1, 7, START, 44]] * 2)
    assert not torch.allclose(step_by_step(model, seen, **PROMPTS)[:, 4:], a[:, 4:])


@torch.no_grad()
def test_a_prompt_for_the_decoder_may_go_in_at_once():
    model = small.model()
    sequence = torch.tensor([[0, 5, 1, 7, START, 44]] * 2)
    encoded = model.encode(**PROMPTS)
    first = model(encoder_outputs=encoded, decoder_input_ids=sequence[:, :4], use_cache=True)
    rest = model(encoder_outputs=encoded, decoder_input_ids=sequence, cache=first.cache)
    torch.testing.assert_close(
        torch.cat([first.logits, rest.logits], 1),
        step_by_step(model, sequence, **PROMPTS),
        atol=1e-5,
        rtol=1e-5,
    )


@torch.no_grad()
def test_lengths_beyond_the_positions_are_refused():
    model = small.model()
    fits = torch.full((1, 16), 5).index_fill(1, torch.tensor(0), 0)
    inputs = {k: v[:1] for k, v in PROMPTS.items()}
    model(**inputs, decoder_input_ids=fits)
    with pytest.raises(ValueError, match="17 text tokens and -1 codes"):
        model(**inputs, decoder_input_ids=F.pad(fits, (0, 1), value=5))
    ended = F.pad(fits, (0, 4)).index_fill(
        1, torch.tensor(3), 1
    )  # text that ended long ago takes no positions
    assert model(**inputs, decoder_input_ids=ended).logits.isfinite().all()
    image = torch.cat([torch.tensor([[0, START]]), torch.full((1, 10), 41)], 1)
    model(**inputs, decoder_input_ids=image[:, :11])  # nine codes, and the step that a forced stop needs
    with pytest.raises(ValueError, match="1 text tokens and 10 codes"):
        model(**inputs, decoder_input_ids=image)


# ---------------------------------------------------------------- generate


def slow_greedy(model, steps, **inputs):
    """Without a cache, from the definition: the most likely id, row by row, until EOS."""
    rows = []
    for i in range(len(inputs["input_ids"])):
        one = {k: v[i : i + 1] for k, v in inputs.items()}
        sequence = torch.tensor([[0]])
        while sequence.shape[1] <= steps and sequence[0, -1] != 1:
            logits = model(**one, decoder_input_ids=sequence).logits[:, -1]
            sequence = torch.cat([sequence, logits.argmax(-1, keepdim=True)], 1)
        rows.append(sequence[0].tolist())
    return rows


def trim(sequence):
    ids = sequence.tolist()
    return ids[: ids.index(1) + 1] if 1 in ids else ids


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy(use_cache):
    for seed in range(4):
        model = small.model(seed)
        out = model.generate(**WITH_IMAGES, max_new_tokens=10, do_sample=False, use_cache=use_cache)
        assert [trim(row) for row in out] == slow_greedy(model, 10, **WITH_IMAGES)


def test_precomputed_encoder_outputs():
    model = small.model()
    out = model.generate(**WITH_IMAGES, max_new_tokens=6, num_beams=2)
    encoded = model.encode(**WITH_IMAGES)
    for _ in range(2):  # beams must not enlarge what the caller holds
        again = model.generate(encoder_outputs=encoded, max_new_tokens=6, num_beams=2)
        assert torch.equal(again, out) and len(encoded.segments) == 2


def best_sequences(model, inputs, steps, beams):
    """Plain beam search on summed log-probabilities with no end, one example, no cache."""
    live = [(0.0, [0])]
    for _ in range(steps):
        grown = []
        for score, ids in live:
            logp = model(**inputs, decoder_input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            grown += [(score + float(logp[i]), [*ids, i]) for i in range(len(logp))]
        live = sorted(grown, reverse=True)[:beams]
    return live


@torch.no_grad()
def test_beams():
    model = small.model(1)
    out = model.generate(
        **WITH_IMAGES,
        max_new_tokens=5,
        num_beams=3,
        num_return_sequences=3,
        length_penalty=0.0,
        eos_token_id=None,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    for row in range(2):
        expected = best_sequences(model, {k: v[row : row + 1] for k, v in WITH_IMAGES.items()}, 5, 3)
        assert out.sequences[3 * row : 3 * row + 3].tolist() == [ids for _, ids in expected]
        torch.testing.assert_close(
            out.sequences_scores[3 * row : 3 * row + 3],
            torch.tensor([s for s, _ in expected]),
            atol=1e-4,
            rtol=0,
        )


class ImageOnly(LogitsProcessor):
    """image_start first, then codes: what a grammar for a target image allows."""

    def __call__(self, input_ids, scores):
        legal = torch.zeros_like(scores, dtype=torch.bool)
        if input_ids.shape[1] == 1:
            legal[:, START] = True
        else:
            legal[:, 40:] = True
        return scores.masked_fill(~legal, -torch.inf)


@pytest.mark.parametrize(
    "options", [{"do_sample": False}, {"do_sample": True, "top_p": 0.9}, {"num_beams": 3}]
)
def test_an_image_by_a_logits_processor(options):
    torch.manual_seed(0)
    out = small.model().generate(
        **WITH_IMAGES, max_new_tokens=10, logits_processor=LogitsProcessorList([ImageOnly()]), **options
    )
    assert out.shape == (2, 11)
    assert (out[:, 0] == 0).all() and (out[:, 1] == START).all() and (out[:, 2:] >= 40).all()


def test_sampling_follows_the_distribution():
    model = small.model(2)
    one = {k: v[:1] for k, v in WITH_IMAGES.items()}
    torch.manual_seed(0)
    draws = model.generate(**one, max_new_tokens=1, do_sample=True, top_k=0, num_return_sequences=4000)[:, 1]
    p = model(**one, decoder_input_ids=torch.tensor([[0]])).logits[0, -1].softmax(-1).detach()
    counted = torch.bincount(draws, minlength=len(p)) / 4000
    assert (counted - p).abs().max() < 5 * (0.25 / 4000) ** 0.5


def test_a_typing_error_in_an_argument_is_named():
    with pytest.raises(ValueError, match="imags"):
        small.model().generate(**PROMPTS, imags=WITH_IMAGES["images"], max_new_tokens=2)


# ---------------------------------------------------------------- guidance


def guided_log_probs(model, ids, scale, guidance_ids):
    with_prompt, without = (
        model(**inputs, decoder_input_ids=ids).logits[:, -1].log_softmax(-1)
        for inputs in (WITH_IMAGES, {"input_ids": guidance_ids})
    )
    return without + scale * (with_prompt - without)


@pytest.mark.parametrize("guidance_ids", [None, torch.tensor([[20, 21, 22, 23, 24, 25, 26, 27, 28, 1]] * 2)])
@torch.no_grad()
def test_guidance_equals_two_passes(guidance_ids):
    model = small.model(3)
    out = model.generate(
        **WITH_IMAGES,
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=None,
        guidance_scale=3.0,
        guidance_ids=guidance_ids,
        return_dict_in_generate=True,
        output_scores=True,
    )
    against = torch.tensor([[1]] * 2) if guidance_ids is None else guidance_ids
    for n, scores in enumerate(out.scores):
        expected = guided_log_probs(model, out.sequences[:, : n + 1], 3.0, against)
        torch.testing.assert_close(scores[:, :40], expected[:, :40], atol=1e-4, rtol=0)
    plain = model.generate(**WITH_IMAGES, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert not torch.equal(out.sequences, plain)
    by_config = GenerationConfig(
        max_new_tokens=6, do_sample=False, guidance_scale=3.0, decoder_start_token_id=0, pad_token_id=0
    )
    again = model.generate(**WITH_IMAGES, generation_config=by_config, guidance_ids=guidance_ids)
    assert torch.equal(again, out.sequences) and by_config.guidance_scale == 3.0
    one = model.generate(
        **WITH_IMAGES, max_new_tokens=6, do_sample=False, eos_token_id=None, guidance_scale=1.0
    )
    assert torch.equal(one, plain)


@torch.no_grad()
def test_guided_beams_reorder_both_halves():
    model = small.model(3)
    settings = {
        "max_new_tokens": 5,
        "num_beams": 3,
        "eos_token_id": None,
        "guidance_scale": 2.0,
        "length_penalty": 0.0,
        "do_sample": False,
    }
    cached, whole = (model.generate(**WITH_IMAGES, use_cache=c, **settings) for c in (True, False))
    assert torch.equal(cached, whole)


# ---------------------------------------------------------------- ranking


@torch.no_grad()
def test_ranking_equals_the_loss_of_each_answer():
    model = small.model()
    options = torch.tensor([[[5, 6, 1], [7, 1, 0], [0, 0, 0]], [[8, 1, 0], [9, 9, 1], [5, 1, 0]]])
    scores = model.rank_options(options, **WITH_IMAGES)
    for row in range(2):
        one = {k: v[row : row + 1] for k, v in WITH_IMAGES.items()}
        for n in range(3):
            target = options[row, n][options[row, n] != 0][None]
            if target.numel():
                loss = F.cross_entropy(
                    model(**one, target_ids=target).text_logits, target[0], reduction="sum"
                )
                assert abs(float(scores[row, n] + loss)) < 1e-4
            else:
                assert scores[row, n] == -torch.inf
    for max_rows in (1, 3):
        torch.testing.assert_close(model.rank_options(options, max_rows=max_rows, **WITH_IMAGES), scores)

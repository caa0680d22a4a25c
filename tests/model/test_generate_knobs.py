"""Every standard knob of `generate` does on this model what it says."""

import pytest
import small
import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

INPUTS = {"input_ids": torch.tensor([[5, 6, 7, 1], [8, 9, 1, 0]])}
MODEL = small.model(1)


def generate(**knobs):
    torch.manual_seed(0)
    return MODEL.generate(**INPUTS, **{"max_new_tokens": 8, **knobs})


def text(ids):
    return ids[:, 1:].tolist()


def test_lengths():
    assert generate(min_new_tokens=8).shape == (2, 9) and not (generate(min_new_tokens=8)[:, 1:] == 1).any()
    assert generate(max_new_tokens=3, eos_token_id=None).shape == (2, 4)
    assert generate(max_length=4, max_new_tokens=None, eos_token_id=None).shape == (2, 4)


def test_one_candidate_is_greedy():
    greedy = generate()
    for knobs in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}, {"typical_p": 1e-6, "top_k": 1}):
        assert torch.equal(generate(do_sample=True, **knobs), greedy), knobs
    assert torch.equal(generate(num_beams=1), greedy)


def test_sampling_knobs_run():
    for knobs in ({"typical_p": 0.5}, {"epsilon_cutoff": 0.01}, {"eta_cutoff": 0.01}, {"min_p": 0.1}):
        assert len(generate(do_sample=True, **knobs)) == 2, knobs


def test_several_answers():
    assert generate(num_beams=3, num_return_sequences=2).shape[0] == 4
    assert generate(do_sample=True, num_return_sequences=5).shape[0] == 10
    assert len(generate(num_beams=2, do_sample=True, early_stopping=True, length_penalty=0.5)) == 2


def test_forbidden_and_repeated_ids():
    plain = generate(min_new_tokens=8)
    banned = int(plain[0, 1])
    assert banned not in text(generate(min_new_tokens=8, bad_words_ids=[[banned]]))[0]
    assert banned not in text(generate(min_new_tokens=8, suppress_tokens=[banned]))[0]
    for row in text(generate(min_new_tokens=8, no_repeat_ngram_size=1)):
        assert len(set(row)) == len(row)
    for row in text(generate(min_new_tokens=8, repetition_penalty=1e6)):
        assert len(set(row)) == len(row)
    assert (generate(forced_bos_token_id=9)[:, 1] == 9).all()
    assert (generate(forced_eos_token_id=1, min_new_tokens=7)[:, -1] == 1).all()


def test_other_changes_of_the_scores():
    without = text(generate(min_new_tokens=8, encoder_no_repeat_ngram_size=1))
    for row, asked in zip(without, INPUTS["input_ids"].tolist(), strict=True):
        assert not set(asked) & set(row)
    assert set(sum(text(generate(sequence_bias={(9,): 1e3})), [])) == {9}
    first = int(generate()[0, 1])
    assert int(generate(begin_suppress_tokens=[first])[0, 1]) != first
    allowed = generate(prefix_allowed_tokens_fn=lambda row, ids: [7 + row])
    assert text(allowed) == [[7] * 8, [8] * 8]
    ended = generate(min_new_tokens=3, exponential_decay_length_penalty=(3, 1e6))
    assert (ended == 1).sum(1).tolist() == [1, 1] and ended.shape[1] == 6
    for knobs in ({"renormalize_logits": True}, {"remove_invalid_values": True}):
        assert torch.equal(generate(**knobs), generate()), knobs
    for knobs in (
        {"top_h": 0.5},
        {"watermarking_config": {"bias": 2.5}},
        {"encoder_repetition_penalty": 2.0},
    ):
        assert len(generate(do_sample=True, **knobs)) == 2, knobs


def test_ways_that_only_change_the_speed():
    greedy = generate()
    for knobs in ({"use_cache": False}, {"cache_implementation": "dynamic"}):
        assert torch.equal(generate(**knobs), greedy), knobs
    one = {"input_ids": INPUTS["input_ids"][:1], "max_new_tokens": 8}
    assert torch.equal(MODEL.generate(**one, prompt_lookup_num_tokens=2), MODEL.generate(**one))


@pytest.mark.parametrize(
    ("knobs", "why"),
    [
        # transformers 5 has moved these out of the package, to code on the hub
        ({"num_beams": 4, "num_beam_groups": 2}, "Group Beam Search requires `trust_remote_code=True`"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "Contrastive Search requires `trust_remote_code=True`"),
        ({"dola_layers": "high"}, "Dola Generation requires `trust_remote_code=True`"),
        ({"num_beams": 3, "force_words_ids": [[9]]}, "Constrained Beam Search requires `trust_remote_code"),
        ({"use_mtp": True}, "This model probably has no associated mtp weights"),
        ({"cache_implementation": "quantized"}, "does not support the quantized cache"),
        ({"stop_strings": ["a"]}, "you must pass the model's tokenizer"),
        ({"token_healing": True}, "you must pass the model's tokenizer"),
        ({"num_return_sequences": 2}, "without beam search do not support `num_return_sequences`"),
        ({"num_beams": 2, "num_return_sequences": 3}, "has to be smaller or equal to `num_beams`"),
        ({"max_new_token": 5}, "not used by the model: .*max_new_token"),
        ({"attention_mask": torch.ones(2, 4)}, "not used by the model: .*attention_mask"),
    ],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else "",
)
def test_refusals(knobs, why):
    with pytest.raises(ValueError, match=why):
        generate(**knobs)


def test_stopping_and_streaming():
    class AfterThree(StoppingCriteria):
        def __call__(self, input_ids, scores, **_):
            return torch.full((len(input_ids),), input_ids.shape[1] >= 4)

    class Kept(BaseStreamer):
        def __init__(self):
            self.ids, self.ended = [], False

        def put(self, value):
            self.ids += value.flatten().tolist()

        def end(self):
            self.ended = True

    assert generate(stopping_criteria=StoppingCriteriaList([AfterThree()]), eos_token_id=None).shape[1] == 4
    assert generate(max_time=0.0, eos_token_id=None).shape[1] == 2
    kept = Kept()
    one = MODEL.generate(input_ids=INPUTS["input_ids"][:1], max_new_tokens=8, streamer=kept)
    assert kept.ids == one[0].tolist() and kept.ended


def test_returned_parts():
    out = generate(return_dict_in_generate=True, output_scores=True, output_logits=True, eos_token_id=None)
    assert len(out.scores) == len(out.logits) == 8 and out.scores[0].shape == (2, 51)
    steps = MODEL.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
    assert steps.shape == (2, 8) and (steps <= 0).all()

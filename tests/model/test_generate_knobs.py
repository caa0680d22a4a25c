"""Every standard knob of `generate` does on this model what it says."""

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

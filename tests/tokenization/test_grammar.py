import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unified.tokenization.automata import (
    choice_grammar,
    grounded_grammar,
    image_grammar,
    keypoint_grammar,
    location_grammar,
    number_grammar,
    text_grammar,
)
from unified.tokenization.grammar import GrammarProcessor
from unified.tokenization.tokenizer_set import TokenizerSet

TOY = TokenizerSet.load("toy", image_weights=False)
V, TEXT = TOY.vocabulary, TOY.text
EOS, PAD = V.eos_id, V.pad_id


def loc(*bins):
    return [V.location_id(b) for b in bins]


def say(text):
    return TEXT.encode(text)


GRAMMARS = {
    "text": text_grammar(V),
    "text with boxes": text_grammar(V, group=4),
    "grounded": grounded_grammar(V, TEXT),
    "labelled boxes": location_grammar(V, group=4, labelled=True, at_least=0, at_most=3),
    "any boxes": location_grammar(V, group=4, labelled=False, at_least=1, at_most=None),
    "any labelled boxes": location_grammar(V, group=4, labelled=True, at_least=0, at_most=None),
    "points": location_grammar(V, group=2, labelled=False, at_least=1, at_most=2),
    "keypoints": keypoint_grammar(V, 3, [say("1"), say("2"), say("3")], None),
    "one figure": keypoint_grammar(V, 2, [say("1"), say("2"), say("3")], 1),
    "number": number_grammar(V, TEXT, decimals=1, negative=True),
    "choices": choice_grammar(V, [say("red"), say("red cube"), say("blue")]),
    "image": image_grammar(V, 4),
}
SPACE = next(i for i in range(V.text.start, V.text.stop) if TEXT.piece(i) == "▁")
joint = [*loc(1, 2), *say("3")]
codes = [V.code_id(i) for i in (0, 5, 1023, 7)]
BOX = loc(1, 2, 3, 4)
ACCEPTED = {
    "text": [[EOS], [*say("a red cube"), EOS], [*say("<extra_id_3> 東"), EOS, PAD, PAD]],
    "text with boxes": [[*say("the"), *BOX, *say("one"), *loc(*range(8)), EOS]],
    "grounded": [
        [*say("[a cube]"), *BOX, *loc(4, 5, 6, 7), *say("is here"), EOS],
        [*say("none"), EOS],
    ],
    "labelled boxes": [[EOS], [*BOX, *say("red cube"), *BOX, *say("cone"), EOS]],
    "any boxes": [[*BOX * 9, EOS]],
    "any labelled boxes": [[EOS], ([*BOX, *say("a cone")]) * 7 + [EOS]],
    "points": [[*loc(1, 2), EOS], [*BOX, EOS]],
    "keypoints": [[*joint * 3, EOS], [*joint * 12, EOS]],
    "one figure": [[*joint * 2, EOS]],
    "number": [[*say(s), EOS] for s in ("2", "-2.5", "123456.7", "0.0")],
    "choices": [[*say("red"), EOS], [*say("red cube"), EOS], [*say("blue"), EOS, PAD]],
    "image": [[V.image_start_id, *codes, EOS, PAD]],
}
REFUSED = {
    "text": [[*loc(1)], [V.code_id(0)], [V.image_start_id], [PAD], [V.unk_id], [3050]],
    "text with boxes": [[*loc(1, 2, 3), EOS], [*loc(1, 2, 3), *say("x")]],
    "grounded": [[*say("a cube"), *loc(1)], loc(1), [*say("[a]"), *loc(1, 2, 3), EOS]],
    "labelled boxes": [[*BOX, EOS], say("cone"), (BOX + say("cone")) * 4],
    "any boxes": [[EOS], [*loc(1, 2, 3), EOS], [*BOX, *say("cone")]],
    "any labelled boxes": [[*BOX, *say("cone"), *BOX, EOS]],
    "points": [[EOS], loc(1, 2, 3, 4, 5)],
    "keypoints": [[EOS], [*joint * 4, EOS], loc(1, 2) + say("4"), joint * 3 + [*loc(1), EOS]],
    "one figure": [joint * 3],
    "number": [
        [EOS],
        [SPACE, SPACE],
        [*say("-"), EOS],
        [*say("2."), EOS],
        *map(say, ("2.55", "two", "1-2", "1234567")),
    ],
    "choices": [[EOS], [*say("cube")], [*say("red"), *say("blue")], [*say("red cube red")]],
    "image": [[*codes], [V.image_start_id, *codes[:3], EOS], [V.image_start_id, *codes, codes[0]], [EOS]],
}  # fmt: skip


@pytest.mark.parametrize("name", GRAMMARS)
def test_whole_answers_are_accepted_and_others_refused(name):
    grammar = GRAMMARS[name]
    for ids in ACCEPTED[name]:
        assert grammar.accepts(ids), V.kind_of(ids)
        stop = ids.index(EOS)
        assert EOS in grammar.legal_ids(grammar.state_after(ids[:stop]))
    for ids in REFUSED[name]:
        assert not grammar.accepts(ids), V.kind_of(ids)


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_state_has_a_way_on_and_the_table_fits_the_vocabulary(name):
    grammar = GRAMMARS[name]
    assert grammar.classes.shape == (V.total,)
    used = np.zeros(grammar.legal.shape[1], bool)
    used[np.unique(grammar.classes)] = True
    assert (grammar.legal & used).any(axis=1).all()
    assert grammar.transitions.max() < len(grammar.transitions)


def test_no_grammar_has_more_classes_than_it_needs():
    assert GRAMMARS["image"].legal.shape[1] == 5  # start, codes, end, pad, rest
    assert GRAMMARS["text"].legal.shape[1] == 4


def test_numbers_of_the_official_set_may_be_pieces_of_several_digits(official):
    grammar = number_grammar(official.vocabulary, official.text, decimals=2, negative=False)
    for text in ("12.5", "2010", "0.25", "7"):
        assert grammar.accepts([*official.text.encode(text), 1])
    for text in ("-3", "1.255", "x"):
        assert not grammar.accepts([*official.text.encode(text), 1])


# ------------------------------------------------------------------------- in generation


def slow_legal(grammar, ids):
    """(V,) bool by walking the automaton from its start; illegal ids end it."""
    state = 0
    for token in ids:
        state = int(grammar.transitions[state, grammar.classes[token]])
    return grammar.legal[state][grammar.classes]


def generate(grammars, beams, steps, seed, reorder):
    """Random decoding as `generate` does it: scores in, a legal token out, beams shuffled."""
    rng = np.random.default_rng(seed)
    processor = GrammarProcessor(grammars)
    rows = torch.zeros((len(grammars) * beams, 1), dtype=torch.long)
    for _ in range(steps):
        scores = torch.from_numpy(rng.normal(size=(len(rows), V.total)).astype(np.float32))
        out = processor(rows, scores)
        for r in range(len(rows)):
            legal = torch.from_numpy(slow_legal(grammars[r // beams], rows[r, 1:].tolist()))
            assert torch.equal(out[r] > -torch.inf, legal)
            assert torch.equal(out[r][legal], scores[r][legal])
        rows = torch.cat([rows, out.softmax(-1).multinomial(1)], dim=1)
        if reorder:
            parents = np.concatenate(
                [i * beams + rng.integers(0, beams, beams) for i in range(len(grammars))]
            )
            rows = rows[torch.from_numpy(parents)]
    return rows


names = st.sampled_from(sorted(GRAMMARS))


@settings(max_examples=25, deadline=None)
@given(st.lists(names, min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 99), st.booleans())
def test_what_is_legal_equals_a_walk_from_the_start(chosen, beams, seed, reorder):
    generate([GRAMMARS[name] for name in chosen], beams, 9, seed, reorder)


def test_a_second_generation_starts_afresh():
    processor = GrammarProcessor([GRAMMARS["image"]])
    scores = torch.zeros(1, V.total)
    for _ in range(2):
        rows = torch.zeros((1, 1), dtype=torch.long)
        for _ in range(7):
            rows = torch.cat([rows, processor(rows, scores).argmax(-1, keepdim=True)], dim=1)
        assert V.kind_of(rows[0]) == ["pad", "image_start", *["image"] * 4, "eos", "pad"]


def test_a_row_is_never_left_without_a_possible_id():
    """The model scores image codes alone after the image start; then only the end token is legal."""
    processor = GrammarProcessor([GRAMMARS["image"]])
    rows = torch.tensor([[PAD, V.image_start_id, *codes]])
    scores = torch.full((1, V.total), -torch.inf)
    scores[:, V.image_offset :] = 0.0
    out = processor(rows, scores)
    assert (out > -torch.inf).nonzero().tolist() == [[0, EOS]]


def test_rows_must_fit_the_batch_and_scores_the_vocabulary():
    processor = GrammarProcessor([GRAMMARS["text"], GRAMMARS["image"]])
    with pytest.raises(ValueError, match="multiple"):
        processor(torch.zeros((3, 1), dtype=torch.long), torch.zeros(3, V.total))
    with pytest.raises(ValueError, match="scores over"):
        processor(torch.zeros((2, 1), dtype=torch.long), torch.zeros(2, 10))


# one small model, the real `generate`


@pytest.fixture(scope="module")
def bart():
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=V.total, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=0, eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    return BartForConditionalGeneration(config).eval()


@pytest.mark.parametrize(
    "how", [{}, {"num_beams": 3}, {"do_sample": True}, {"do_sample": True, "num_beams": 2}]
)
def test_hugging_face_generates_only_legal_answers(bart, how):
    torch.manual_seed(1)
    chosen = ["image", "labelled boxes", "choices", "number", "one figure"]
    grammars = [GRAMMARS[name] for name in chosen]
    inputs = torch.full((len(chosen), 3), 7)
    out = bart.generate(inputs, logits_processor=[GrammarProcessor(grammars)], max_new_tokens=20, **how)
    for name, grammar, row in zip(chosen, grammars, out.tolist(), strict=True):
        assert grammar.accepts(row[1:]), (name, V.kind_of(row))
    assert V.kind_of(out[0])[:7] == ["pad", "image_start", *["image"] * 4, "eos"]
    assert EOS in out[2]

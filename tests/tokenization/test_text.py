import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified.errors import UserError
from unified.tokenization.text import load_sentencepiece
from unified.tokenization.tokenizer_set import TokenizerSet

TOY = TokenizerSet.load("toy", image_weights=False)

CONTROL = [
    "</s>",
    "<pad>",
    "<unk>",
    "<extra_id_5>",
    "<loc_3>",
    "<0x41>",
    "a </s> b",
    "<extra_id_1099><loc_0>",
    "▁",
]


@pytest.mark.parametrize("text", CONTROL)
@pytest.mark.parametrize("name", ["toy", "unified_io"])
def test_control_strings_are_text(name, text, toy, official):
    tokenizers = toy if name == "toy" else official
    kinds = tokenizers.vocabulary.kind_of(tokenizers.text.encode(text))
    assert set(kinds) <= {"text", "unk"}


@pytest.mark.parametrize("text", [t for t in CONTROL if t != "▁"])
def test_control_strings_come_back_as_they_are(text, toy):
    assert toy.text.decode(toy.text.encode(text)) == text


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=40))
def test_the_toy_set_encodes_any_text_without_unknowns(text):
    ids = TOY.text.encode(text)
    assert TOY.vocabulary.unk_id not in ids
    normal = TOY.text.decode(ids)
    assert TOY.text.decode(TOY.text.encode(normal)) == normal


@pytest.mark.parametrize(
    "text", ["a small shiny purple cylinder.", "42.5", "-3", "naïve 東京", 'the "red cube" ?']
)
def test_usual_text_round_trips(text, toy):
    assert toy.text.decode(toy.text.encode(text)) == text


def test_digits_are_pieces_of_their_own(toy):
    assert [toy.text.piece(i) for i in toy.text.encode("120")] == ["▁", "1", "2", "0"]


def test_decoding_leaves_out_what_is_no_text(toy):
    v = toy.vocabulary
    ids = toy.text.encode("red cube")
    mixed = [0, ids[0], v.location_id(3), *ids[1:], v.eos_id, v.image_start_id, v.code_id(0)]
    assert toy.text.decode(mixed) == "red cube"


def test_strict_encoding_needs_sentinels(toy):
    with pytest.raises(UserError, match="strict"):
        toy.text.encode("<extra_id_0>", strict=True)


def test_survives_pickling(toy):
    copy = pickle.loads(pickle.dumps(toy.text))
    assert copy.encode("red cube </s>") == toy.text.encode("red cube </s>")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "x.model").write_bytes(b"not a model")
    with pytest.raises(UserError, match="not a sentencepiece model"):
        load_sentencepiece(tmp_path / "x.model")

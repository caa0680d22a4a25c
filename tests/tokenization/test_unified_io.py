"""The official vocabulary against outputs of the official code (tests/assets/unified_io)."""

import json
from pathlib import Path

import numpy as np
import pytest

from unified.errors import UserError
from unified.tokenization.tokenizer_set import TokenizerSet

ASSETS = Path(__file__).parent.parent / "assets" / "unified_io"
PROMPTS = json.loads((ASSETS / "prompt_token_ids.json").read_text())
LOCATIONS = json.loads((ASSETS / "locations.json").read_text())["locations"]


@pytest.fixture(scope="module")
def official() -> TokenizerSet:
    return TokenizerSet.load("unified_io")


def test_layout(official):
    v = official.vocabulary
    assert (v.text_size, v.image_size, v.total) == (33152, 16384, 49536)
    assert v.location_id(0) == 32999 and v.location_id(999) == 32000
    assert v.image_start_id == 33151 and v.code_id(0) == 33152 and v.code_id(16383) == 49535
    assert v.kind_of([0, 1, 2, 3, 31999, 32000, 33000, 33100, 33150]) == [
        "pad", "eos", "unk", "text", "text", "location", "sentinel", "unused", "unused",
    ]  # fmt: skip


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_give_the_official_ids(official, prompt):
    assert [*official.text.encode(prompt, strict=True), 1] == PROMPTS[prompt]


@pytest.mark.parametrize("prompt", [p for p in PROMPTS if "<extra_id_" in p])
def test_without_strict_the_same_strings_are_text(official, prompt):
    ids = official.text.encode(prompt)
    assert set(official.vocabulary.kind_of(ids)) <= {"text", "unk"}


@pytest.mark.parametrize("row", LOCATIONS, ids=lambda row: str(row["box"]))
def test_boxes_give_the_official_tokens_and_come_back(official, row):
    side = max(row["w"], row["h"])
    ids = official.locations.encode(np.array([row["box"]]), side)
    assert ids.tolist() == [row["ids"]]
    assert official.text.encode(" ".join(row["tokens"]), strict=True) == row["ids"]
    back = official.locations.decode(ids, side)
    if row["decoded_xyxy"] == "ValueError":
        # The official decoder fails on the last bin; ours reads the edge that it stands for.
        np.testing.assert_allclose(back, [row["box"]], atol=official.locations.tolerance(side))
    else:
        np.testing.assert_allclose(back, row["decoded_xyxy"], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "ids"),
    [  # as transformers' slow T5Tokenizer with 1100 extra ids, the official one, has them
        ("What is </s> this", [363, 19, 1, 48]),
        ("<pad> x", [0, 3, 226]),
        ("<unk>", [2]),
        ("a<extra_id_100><extra_id_1099>.", [3, 9, 32999, 32000, 3, 5]),
        ("<extra_id_1100> x", [3, 2, 25666, 834, 23, 26, 834, 536, 2915, 3155, 3, 226]),
        ("<extra_id_05>", [3, 2, 25666, 834, 23, 26, 834, 3076, 3155]),
    ],
)
def test_control_strings_and_what_is_none(official, text, ids):
    assert official.text.encode(text, strict=True) == ids


def test_codes_need_weights_and_the_error_says_how_to_get_them(official):
    with pytest.raises(UserError, match="vqgan_imagenet_f16_16384"):
        official.image  # noqa: B018
    assert TokenizerSet.load("unified_io", image_weights=False).image is None
    assert official.code_cell == 16

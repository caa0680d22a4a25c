"""Answers as the official code reads them. Expected texts are those of its tokenizer (transformers' slow
T5Tokenizer with 1100 extra ids), places those of its formulas: (33000 - id) / 1000 of the longer side."""

import numpy as np
import pytest

from unified.tokenization.official import Unreadable, boxes, joints, wording

NAMES = ("nose", "left_eye", "right_eye")
ONE, TWO, THREE = 209, 204, 220


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([3, 9, 1782, 3, 5], "a dog."),
        ([3, 88, 19, 3, 29, 31, 17, 270, 3, 6, 68, 255, 3, 31, 7, 3, 5], "he isn't here, but she's."),
        ([32749, 32646, 32506, 1953], "<extra_id_350> <extra_id_453> <extra_id_593> bed"),
        ([1953, 32749, 32646, 5], "bed <extra_id_350> <extra_id_453>."),
        ([33099, 1953, 33000], "<extra_id_0> bed <extra_id_99>"),
        ([3], ""),
    ],
)  # fmt: skip
def test_wording(official, ids, text):
    assert wording(official, ids) == text


def test_boxes_are_not_clipped(official):
    read = boxes(official, [32749, 32646, 32506, 32256, 1953, 32999, 32999, 32001, 32001], 640)
    np.testing.assert_allclose(
        read.xyxy, [[226.56, 160.64, 476.16, 316.16], [0.64, 0.64, 639.36, 639.36]], rtol=1e-12
    )
    assert read.labels == ("bed", "")
    assert len(boxes(official, [], 640)) == 0


@pytest.mark.parametrize(
    "ids",
    [
        [1953],  # a label before any place
        [32749, 32646, 32506],  # three of four
        [32749, 32646, 32506, 32000],  # the last bin
        [32749, 32646, 32506, 32256, 0],  # padding
        [32749, 32646, 32506, 32256, 32001, 32002],  # a second box of two
    ],
)
def test_what_is_no_list_of_boxes(official, ids):
    with pytest.raises(Unreadable):
        boxes(official, ids, 640)


def test_joints(official):
    ids = [32999, 32989, THREE, 32979, 32969, TWO, 32001, 32001, ONE]
    whole, malformed = joints(official, ids, 1000, NAMES)
    assert not malformed and whole.visibility.tolist() == [[2, 1, 0]]
    np.testing.assert_allclose(whole.xy, [[[11, 1], [31, 21], [21, 11]]])  # the one not seen: the mean
    short, malformed = joints(official, ids[:3], 1000, NAMES)
    assert malformed and short.visibility.tolist() == [[2, 0, 0]]
    np.testing.assert_allclose(short.xy, [[[11, 1]] * 3])
    long, malformed = joints(official, ids + ids, 1000, NAMES)
    assert malformed and long.xy.shape == (1, 3, 2)
    odd, malformed = joints(official, [32999, 32989, 1953, *ids[3:]], 1000, NAMES)
    assert malformed and odd.visibility.tolist() == [[0, 1, 0]]
    none, malformed = joints(official, [32999, 32989, ONE] * 3, 1000, NAMES)
    assert len(none) == 0 and not malformed

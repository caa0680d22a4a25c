import numpy as np
import pytest

from unified.errors import UserError
from unified.tokenization.vocabulary import IdRange, Vocabulary


def toy(**changes) -> Vocabulary:
    given = {"pieces": 50, "location": IdRange(50, 10), "sentinel": None, "text_size": 64, "image_size": 8}
    return Vocabulary(**(given | changes))


def test_every_id_has_one_kind():
    v = toy(sentinel=IdRange(60, 2))
    kinds = v.kind_of(range(v.total))
    assert kinds[:4] == ["pad", "eos", "unk", "text"]
    assert kinds[49:51] == ["text", "location"]
    assert kinds[59:] == ["location", "sentinel", "sentinel", "unused", "image_start"] + ["image"] * 8
    assert v.image_start_id == 63 and v.image_offset == 64 and v.total == 72


@pytest.mark.parametrize("reversed_", [False, True])
def test_locations_by_scalar_and_by_array_agree(reversed_):
    v = toy(location=IdRange(50, 10, reversed_))
    ids = v.location_ids(np.arange(10))
    assert ids.tolist() == [v.location_id(i) for i in range(10)]
    assert v.bins_of(ids).tolist() == list(range(10)) == [v.bin_of(i) for i in ids]
    assert ids[0] == (59 if reversed_ else 50)


def test_items_and_ids_outside_a_range_are_errors():
    v = toy()
    for call, value in (
        (v.location_id, 10),
        (v.location_id, -1),
        (v.bin_of, 49),
        (v.bin_of, 60),
        (v.code_id, 8),
    ):
        with pytest.raises(IndexError):
            call(value)


def test_overlapping_or_overflowing_ranges_are_refused():
    with pytest.raises(UserError, match="overlap"):
        toy(location=IdRange(49, 10))
    with pytest.raises(UserError, match="overlap"):
        toy(sentinel=IdRange(59, 2))
    with pytest.raises(UserError, match="at least 61"):
        toy(text_size=60)

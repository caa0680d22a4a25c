"""The container: what flax wrote is read and written byte by byte; what it did not is refused."""

import random

import numpy as np
import official
import pytest

from unified.conversion import flax_msgpack
from unified.conversion.flax_msgpack import BFLOAT16, read, write
from unified.errors import UserError

SAMPLE = official.golden.ASSETS / "flax_msgpack_sample.bin"
CHUNK = 64  # what the sample was written with, in place of 2^30


def test_what_flax_wrote_is_read():
    expected = dict(np.load(SAMPLE.with_suffix(".npz")))
    leaves = read(SAMPLE)
    assert list(leaves) == list(expected)
    for key, array in expected.items():
        found = leaves[key].array()
        if leaves[key].dtype == BFLOAT16:
            found = (found["bfloat16"].astype(np.uint32) << 16).view(np.float32)
        assert found.shape == array.shape and found.dtype == array.dtype
        assert (found == array).all()


def test_leaves_are_views_of_the_file():
    leaves = read(SAMPLE)
    array = leaves["a/kernel"].array()
    assert np.shares_memory(array, leaves["a/kernel"].parts[0]) and not array.flags.writeable
    assert not array.flags.owndata
    chunked = leaves["a/chunked"]
    assert [part.size for part in chunked.parts] == [16, 16, 3]
    assert not any(part.flags.owndata for part in chunked.parts)


def test_what_is_written_is_what_flax_wrote(tmp_path):
    leaves = read(SAMPLE)
    write(tmp_path / "again.bin", list(leaves), lambda key: leaves[key].array(), chunk_bytes=CHUNK)
    assert (tmp_path / "again.bin").read_bytes() == SAMPLE.read_bytes()


def test_every_head_of_msgpack(tmp_path):
    """Lengths on both sides of each limit of the format, against another implementation."""
    msgpack = pytest.importorskip("msgpack")
    wide = {f"key{i:05}": np.zeros(1, np.int8) for i in range(70_000)}
    named = {"n" * n: np.zeros(1, np.int8) for n in (1, 31, 32, 255, 256, 65_535, 65_536)}
    sized = {f"a{n}": np.zeros(n, np.uint8) for n in (1, 127, 128, 255, 256, 65_535, 65_536)}
    fixed = {f"b{n}": np.zeros(n, np.int8) for n in range(17)}
    deep = {"x/y/z": np.zeros((1,) * 16, np.float64), "x/y/w": np.float32(3)}

    def plain(tree):
        if isinstance(tree, dict):
            return {name: plain(child) for name, child in tree.items()}
        code = 3 if isinstance(tree, np.generic) else 1
        return msgpack.ExtType(code, msgpack.packb((tree.shape, tree.dtype.name, tree.tobytes())))

    for flat in (wide, named, sized, fixed, deep):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.bin"
        write(path, list(flat), lambda key, flat=flat: flat[key])
        nested = {"x": {"y": {"z": deep["x/y/z"], "w": deep["x/y/w"]}}} if flat is deep else flat
        assert path.read_bytes() == msgpack.packb(plain(nested))
        again = read(path)
        assert list(again) == list(flat)
        assert all((again[key].array() == flat[key]).all() for key in flat)


# ------------------------------------------------------------------------------------------ damage


def boundaries(monkeypatch):
    """Every byte at which the reader begins to read something of the sample."""
    starts = set()
    take = flax_msgpack._Reader.take

    def recording(self, key, count):
        starts.add(self.at)
        return take(self, key, count)

    monkeypatch.setattr(flax_msgpack._Reader, "take", recording)
    read(SAMPLE)
    monkeypatch.undo()
    return sorted(starts)


def refuse(path, *words):
    with pytest.raises(UserError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert all(word in message for word in words), message
    return message


def test_a_file_that_is_cut_off(tmp_path, monkeypatch):
    whole = SAMPLE.read_bytes()
    starts = boundaries(monkeypatch)
    assert len(starts) > 100
    path = tmp_path / "cut.bin"
    for end in {e for start in starts for e in (start, start + 1) if e < len(whole)}:
        path.write_bytes(whole[:end])
        message = refuse(path)
        assert "cut off" in message or "empty" in message, (end, message)


def test_flipped_bytes(tmp_path):
    """Any other byte at any place: refused, or other arrays, never another error."""
    whole = SAMPLE.read_bytes()
    path = tmp_path / "flipped.bin"
    chance = random.Random(0)
    refused = 0
    for place in range(len(whole)):
        for byte in {0x00, 0x80, 0xC3, 0xC7, 0xDF, 0xFF, chance.randrange(256)} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                for leaf in read(path).values():
                    assert leaf.array().shape == leaf.shape
            except UserError as error:
                refused += 1
                assert str(error).startswith(f"{path}: ")
    assert refused > 1000


def test_random_bytes(tmp_path):
    path = tmp_path / "random.bin"
    for seed in range(300):
        chance = random.Random(seed)
        path.write_bytes(bytes([0x82]) + chance.randbytes(chance.randrange(200)))
        refuse(path)


ONE = b"\x81\xa1a"  # {"a": ...}
PAYLOAD = b"\x93\x91\x01\xa7float32\xc4\x04\0\0\0\0"


def leaf(payload, code=1):
    return b"\xc7" + bytes([len(payload), code]) + payload


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["the file is empty"]),
        (b"PK\x03\x04" + bytes(99), ["is no flax checkpoint: it starts with b'PK"]),
        (b"\x80", ["empty map"]),
        (ONE + leaf(PAYLOAD) + b"xyz", ["3 bytes more behind its last array"]),
        (ONE + b"\x80", ["a: is an empty map"]),
        (ONE + b"\x07", ["a: is a whole number, where arrays"]),
        (ONE + b"\xc0", ["a: is a msgpack object 0xc0"]),
        (b"\x81\x07" + leaf(PAYLOAD), ["a key must be a text, not a whole number"]),
        (b"\x81\xa3a/b" + leaf(PAYLOAD), ["the key 'a/b'"]),
        (b"\x81\xa2\xff\xff" + leaf(PAYLOAD), ["not UTF-8"]),
        (b"\x82" + (b"\xa1a" + leaf(PAYLOAD)) * 2, ["the key 'a' is empty, there twice"]),
        (ONE * 80 + leaf(PAYLOAD), ["maps in more than 64 maps"]),
        (ONE + leaf(PAYLOAD, 2), ["a: is an extension of type 2"]),
        (ONE + leaf(PAYLOAD, 3), ["a: shape (1,) of float32"]),
        (ONE + leaf(PAYLOAD.replace(b"float32", b"float99")), ["a: (1,) is of dtype 'float99'; known are"]),
        (ONE + leaf(PAYLOAD.replace(b"\x91\x01", b"\x92\x01\x05")), ["shape (1, 5) of float32 is 20 bytes"]),
        (ONE + leaf(PAYLOAD + b"x"), ["a: shape (1,): 1 bytes more than its content"]),
        (ONE + leaf(PAYLOAD.replace(b"\x91\x01", b"\x91\xcf" + b"\xff" * 8)), ["no array of this file"]),
        (ONE + leaf(b"\x92" + PAYLOAD[1:]), ["a list of shape, dtype and bytes"]),
    ],
)  # fmt: skip
def test_foreign_files(tmp_path, content, words):
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    refuse(path, *words)


def test_no_file(tmp_path):
    refuse(tmp_path / "gone.bin", "there is no such file")
    refuse(tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            b"\xa5shape\x82\xa10\x05",
            b"\xa5shape\x82\xa10\x06",
            ["a/chunked: shape (6, 7): its chunks hold 35"],
        ),
        (b"\xa5shape\x82\xa10", b"\xa5shape\x82\xa11", ["entry '1' of a chunked array stands where 0"]),
        (b"_array__\xc3", b"_array__\xc2", ["must be a map of true, shape and chunks"]),
        (b"\xa6chunks", b"\xa6chunkz", ["has no chunks"]),
    ],
)
def test_damaged_chunks(tmp_path, old, new, words):
    whole = SAMPLE.read_bytes()
    assert whole.count(old) == 1, old
    path = tmp_path / "x.bin"
    path.write_bytes(whole.replace(old, new))
    refuse(path, *words)

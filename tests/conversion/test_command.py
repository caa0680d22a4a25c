"""`unified convert`."""

from functools import partial

import pytest

from unified.cli import main
from unified.conversion import from_official


def test_there_and_back(tiny, tmp_path, capfd):
    assert main(["convert", "unified-io", str(tiny[0]), str(tmp_path / "deep/out")]) == 0
    said = capfd.readouterr().out
    assert "a size of its own" in said and "is not the official one" in said
    assert said.splitlines()[-1] == f"wrote {tmp_path / 'deep/out'}"
    assert f"unified convert unified-io {tiny[0]} " in (tmp_path / "deep/out/README.md").read_text()
    assert main(["convert", str(tmp_path / "deep/out"), str(tmp_path / "x.bin"), "--to", "unified-io"]) == 0
    assert "426 arrays" in capfd.readouterr().out
    assert (tmp_path / "x.bin").read_bytes() == tiny[0].read_bytes()


def test_a_long_conversion_says_how_far_it_is(tiny, tmp_path, monkeypatch, capfd):
    sharded = partial(from_official.convert, shard_bytes=400_000)
    monkeypatch.setattr(from_official, "convert", sharded)
    assert main(["convert", "unified-io", str(tiny[0]), str(tmp_path / "out")]) == 0
    shards = len(list((tmp_path / "out").glob("model-*.safetensors")))
    said = capfd.readouterr()
    assert said.err.splitlines() == ["0.0 of 0.0 GB"] * shards and shards > 1
    assert said.out.splitlines()[-1] == f"wrote {tmp_path / 'out'}"


def test_an_empty_folder_is_taken(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    assert main(["convert", "unified-io", str(tiny[0]), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/config.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("unified-io {bin}", "one file or folder to read and one to write are wanted"),
        ("{bin} out", "one file or folder to read"),
        ("unified_io {bin} out", "unknown kind of checkpoint 'unified_io' (did you mean 'unified-io'?)"),
        ("unified-io gone.bin out", "gone.bin: there is no such file"),
        ("unified-io full out", "full: is a folder, where a checkpoint"),
        ("unified-io text.bin out", "text.bin: is no flax checkpoint: it starts with b'version "),
        ("unified-io {bin} full", "full: is there already"),
        ("unified-io {bin} text.bin", "text.bin: is there already"),
        ("unified-io {bin} .", "is there already"),
        ("unified-io {bin} text.bin/out", "text.bin"),
        ("unified-io {bin} out --size small", "of size 'small'"),
        ("unified-io {bin} out --size tiny", "--size tiny: there are auto, small"),
        ("{folder} text.bin --to unified-io", "text.bin: is there already"),
        ("{folder} full --to unified-io", "full: is there already"),
        ("{folder} gone/x.bin --to unified-io", "gone is not there; make it first"),
        ("gone x.bin --to unified-io", "gone: there is no such model"),
        ("full x.bin --to unified-io", "full: is no model folder"),
        ("toy x.bin --to unified-io", "the official model has 'patches' and 'linear' only"),
        ("{folder} x.bin --to unified-io --size small", "--size small: is for reading"),
        ("{folder} x.bin --to t5", "unknown --to 't5'; there are unified-io"),
    ],
)
def test_refusals(tiny, tmp_path, monkeypatch, capfd, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept.txt").write_text("dear")
    (tmp_path / "text.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    assert main(["convert", *words.format(bin=tiny[0], folder=tiny[1]).split()]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said and message in said, said
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before

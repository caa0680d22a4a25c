"""Image codes of picture answers, made once: resumable, divided, verified, the same as made on the fly."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified.cli import main
from unified.data import code_cache
from unified.data.code_cache import open_codes, why_not
from unified.data.code_writer import Progress, plan
from unified.data.dataset import MixtureDataset, TaskData
from unified.data.order import MixtureOrder
from unified.errors import UserError
from unified.sources.open import open_source
from unified.specs.load import load_task
from unified.tokenization.pixels import known_pixels, target_pixels
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.training.loop import TIMES
from unified.values import types as values
from unified.values.geometry import Geometry
from unified.values.types import Size

ROOT = Path(__file__).parents[2]
ROWS, SHARD = 20, 8
SPEC = """
task: {name}
source: {{type: toybox, kind: {kind}, splits: {{train: {rows}}}}}
fields: {fields}
input: {{images: [image], prompt: ["What is it ?"]}}
preprocess: {steps}
target: {{field: {target}, {options}}}
"""
COMMAND = "import sys; from unified.data import code_cache; code_cache.SHARD = {shard}; " \
    "from unified.cli import main; sys.exit(main(sys.argv[1:]))"  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(code_cache, "SHARD", SHARD)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def toy():
    return TokenizerSet.load("toy")


@pytest.fixture(scope="module")
def processor(toy):
    return Processor(
        toy, image_size=64, patch_size=8, target_size=64, max_input_length=64, max_target_length=64
    )


def write_spec(path, steps="[]", rows=ROWS, kind="depth", **changes):
    parts = {
        "name": path.stem, "fields": "{image: image, depth: depth}", "target": "depth",
        "options": "value_range: [2, 10]", **changes,
    }  # fmt: skip
    path.write_text(SPEC.format(rows=rows, kind=kind, steps=steps, **parts))
    return path


def opened(path):
    task = load_task(path)
    return TaskData.of(task, open_source(task, "train"))


def made(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(*arguments, shard=SHARD, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(shard=shard), "cache", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def codes_of(path, toy, root, **changes):
    return open_codes(root, [opened(path)], "train", toy, 64, "--tokenizer toy", **changes)


# --------------------------------------------------------------------------------- what is there


def test_codes_are_those_of_the_encoder(toy, processor, tmp_path, capsys):
    path = write_spec(tmp_path / "maps.yaml")
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 0
    assert "20 rows encoded, 0 were there; c" in capsys.readouterr().out
    data = opened(path)
    cached = codes_of(path, toy, tmp_path / "c")["maps"]
    order = MixtureOrder(0, [("maps", ROWS, 1.0)])
    dataset = MixtureDataset([data], order, processor)
    for i in range(ROWS):
        row = order.sample(i).row
        image = dataset[i][0].target_image
        assert np.array_equal(cached(row, data.source.key(row)), toy.image.encode(image[None])[0])
    arrays = sorted((tmp_path / "c").rglob("*.npy"))
    assert [np.load(a).shape for a in arrays] == [(8, 64), (8, 64), (4, 64)]
    assert np.load(arrays[0]).dtype == np.uint16
    # a model says the same about the set and the size
    assert main(["cache", str(path), "--model", "toy", "--out", "c"]) == 0
    assert "0 rows encoded, 20 were there" in capsys.readouterr().out


def test_a_killed_command_goes_on(tmp_path):
    path = write_spec(tmp_path / "maps.yaml", rows=64)
    process = start(str(path), "--tokenizer", "toy", "--out", "c")
    folder = tmp_path / "c"
    until = time.monotonic() + 60
    while not list(folder.rglob("*.json")) and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = made(folder)
    done = [name for name in before if name.endswith(".json")]
    assert 0 < len(done) < 8, "killed in the middle"
    times = {name: (folder / name).stat().st_mtime_ns for name in done}
    partial = (folder / done[0]).with_name("train-000007.npy")  # cut while it was written, without a JSON
    partial.write_bytes(before[done[0].replace(".json", ".npy")][:100])
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 0
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == times, "made again"
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "whole"]) == 0
    whole = made(tmp_path / "whole")
    assert {k: v for k, v in made(folder).items() if ".partial" not in k} == whole and len(whole) == 16


def test_parts_are_the_whole(tmp_path, capsys):
    paths = [str(write_spec(tmp_path / f"{name}.yaml")) for name in ("maps", "more")]
    both = ",".join(paths)
    assert main(["cache", both, "--tokenizer", "toy", "--out", "whole"]) == 0
    rows = []
    for i in (3, 1, 2):
        assert main(["cache", both, "--tokenizer", "toy", "--out", "parts", "--shard", f"{i}/3"]) == 0
        out = capsys.readouterr().out
        assert f"part {i} of 3: " in out
        rows.append(int(out.split(f"part {i} of 3: ")[1].split()[0]))
    assert sum(rows) == 2 * ROWS and min(rows) > 0, "each shard once"
    assert made(tmp_path / "parts") == made(tmp_path / "whole")


def test_two_processes_share_the_work(tmp_path):
    path = str(write_spec(tmp_path / "maps.yaml"))
    arguments = (path, "--tokenizer", "toy", "--out", "two")
    ranks = [start(*arguments, RANK=str(r), LOCAL_RANK=str(r), WORLD_SIZE="2") for r in range(2)]
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert "part 1 of 2: 12 rows encoded" in said[0] and "part 2 of 2: 8 rows encoded" in said[1]
    assert main(["cache", path, "--tokenizer", "toy", "--out", "one"]) == 0
    assert made(tmp_path / "two") == made(tmp_path / "one")


def test_the_progress_says_speed_and_what_is_left(tmp_path, toy, monkeypatch):
    clock = iter([100.0, 102.0, 102.5, 110.0])
    monkeypatch.setattr("unified.data.code_writer.time.monotonic", lambda: next(clock))
    jobs, _ = plan([opened(write_spec(tmp_path / "maps.yaml"))], "train", toy, 64, tmp_path)
    said = io.StringIO()
    line = Progress(jobs, said, every=2)
    line.add(jobs[0], 4)
    line.add(jobs[0], 8)  # too soon
    line.skip(8)
    line.skip(8)  # was there
    line.add(jobs[2], 2)
    assert said.getvalue().splitlines() == [
        "maps: 4 of 20 rows, 2.0 images/s, 0:00:08 left",
        "maps: 18 of 20 rows, 1.0 images/s, 0:00:02 left",
    ]


# ---------------------------------------------------------------------------------- verification


@pytest.fixture
def cache(tmp_path):
    path = write_spec(tmp_path / "maps.yaml")
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 0
    return path, tmp_path / "c"


@pytest.mark.parametrize("place", [-7, 130, 27, 1], ids=["last", "first", "type", "magic"])
def test_a_flipped_byte_is_noticed_and_mended(place, cache, toy, capsys):
    path, root = cache
    before = made(root)
    array = next(root.rglob("train-000001.npy"))
    content = bytearray(array.read_bytes())
    content[place] ^= 1
    array.write_bytes(content)
    data, cached = opened(path), codes_of(path, toy, root)["maps"]
    assert cached(0, data.source.key(0)) is not None, "another shard"
    with pytest.raises(UserError, match=r"train-000001.npy: is damaged.*\n  unified cache .*maps.yaml --tok"):
        cached(9, data.source.key(9))
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 0
    assert "8 rows encoded, 12 were there" in capsys.readouterr().out
    assert made(root) == before
    array.write_bytes(array.read_bytes()[:200])
    with pytest.raises(UserError, match="is damaged"):
        codes_of(path, toy, root)["maps"](9, data.source.key(9))


def test_other_tokenizers_specs_and_sizes_are_not_taken(cache, toy, tmp_path):
    path, root = cache
    toy.save(tmp_path / "other")
    yaml = tmp_path / "other/tokenizer.yaml"
    yaml.write_text(yaml.read_text().replace("version: 1", "version: 2"))
    with pytest.raises(UserError, match=r"lacks the codes of 20 of the 20 train rows.*it holds maps@v1-.*px"):
        codes_of(path, TokenizerSet.load(tmp_path / "other"), root)
    with pytest.raises(UserError, match="at 32 px.*\n.* --size 32"):
        open_codes(root, [opened(path)], "train", toy, 32, "--tokenizer toy")
    path.write_text(path.read_text().replace("[2, 10]", "[2, 9]"))
    with pytest.raises(UserError, match="it holds maps@v1-"):
        codes_of(path, toy, root)
    with pytest.raises(UserError, match="there is no such folder"):
        codes_of(path, toy, tmp_path / "nowhere")


def test_a_shard_of_something_else_is_refused(cache, toy):
    path, root = cache
    about = next(root.rglob("train-000000.json"))
    content = json.loads(about.read_text())
    key = opened(path).source.key(3)
    for change, said in [
        ({"tokenizer": "0" * 64}, "made of something else: tokenizer 000.* instead of "),
        ({"rows": 21}, "made of something else: rows 21 instead of 20"),
        ({"crc32": 1}, "its checksum"),
    ]:
        about.write_text(json.dumps({**content, **change}))
        with pytest.raises(UserError, match=said):
            codes_of(path, toy, root)["maps"](3, key)
    about.write_text(json.dumps(content))
    cached = codes_of(path, toy, root)["maps"]
    with pytest.raises(UserError, match="row 3 is b.jpg now and was another one"):
        cached(3, "b.jpg")
    assert cached(3, key) is not None


def test_a_missing_shard_is_named_before_training(cache, toy):
    path, root = cache
    next(root.rglob("train-000001.json")).unlink()
    with pytest.raises(UserError, match="lacks the codes of 8 of the 20 train rows of maps"):
        codes_of(path, toy, root)


# ---------------------------------------------------------------------------------- augmentation


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("[]", None),
        ("[center_crop: {scale: 0.5}]", None),
        ("[random_flip: {}]", "random_flip moves the answer"),
        ("[center_crop: {scale: 0.5}, random_crop: {}]", "random_crop moves the answer"),
    ],
)
def test_what_augmentation_changes_is_not_cached(steps, reason, tmp_path, processor):
    data = opened(write_spec(tmp_path / "maps.yaml", steps))
    found = why_not(data)
    assert found is None if reason is None else reason in found
    order = MixtureOrder(0, [("maps", ROWS, 1.0)])
    dataset = MixtureDataset([data], order, processor)
    seen = {}
    for i in range(3 * ROWS):  # three epochs
        seen.setdefault(order.sample(i).row, set()).add(dataset[i][0].target_image.tobytes())
    assert len(seen) == ROWS
    assert all(len(pixels) == 1 for pixels in seen.values()) == (reason is None)


def test_a_random_choice_that_paints_the_answer_is_not_cached(tmp_path):
    fields = "{image: image, picture: {type: image, path: image}, boxes: {type: boxes}}"
    steps = "[choose: {field: boxes}, erase_region: {image: %s, region: boxes}]"
    for name, reason in (("image", None), ("picture", "erase_region changes the answer by a random choice")):
        path = write_spec(
            tmp_path / f"{name}.yaml", steps % name, kind="detect", fields=fields, target="picture",
            options="modality: image",
        )  # fmt: skip
        assert why_not(opened(path)) == reason


def test_tasks_without_codes_are_named(tmp_path, capsys, toy):
    plain, flipped = (
        write_spec(tmp_path / "maps.yaml"),
        write_spec(tmp_path / "flip.yaml", "[random_flip: {}]"),
    )
    what = f"{plain},{flipped},toybox_vqa_count"
    assert main(["cache", what, "--tokenizer", "toy", "--out", "c"]) == 0
    out = capsys.readouterr().out
    assert "made on the fly in training: flip: random_flip moves the answer" in out and "vqa" not in out
    assert [p.name.partition("@")[0] for p in (tmp_path / "c").iterdir()] == ["maps"]
    tasks = [opened(plain), opened(flipped)]
    assert list(open_codes(tmp_path / "c", tasks, "train", toy, 64, "")) == ["maps"]


# -------------------------------------------------------------------------------------- bad rows


def pictures(folder, bad):
    lines = ["picture"]
    for i in range(10):
        file = folder / f"{i}.png"
        Image.new("RGB", (64, 64), (20 * i, 100, 50)).save(file)
        if i in bad:
            file.write_bytes(b"\x89PNG broken")
        lines.append(file.name)
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    path = folder / "repeat.yaml"
    path.write_text(
        "task: repeat\nsource: {type: csv, splits: {train: rows.csv}}\n"
        "fields: {picture: {type: image}, copy: {type: image, path: picture}}\n"
        "input: {images: [picture], prompt: [Repeat it .]}\ntarget: {field: copy}\n"
    )
    return path


def test_bad_rows_are_absent_and_counted(tmp_path, capsys, toy):
    path = pictures(tmp_path, bad=(3, 8))
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 0
    out = capsys.readouterr().out
    assert "2 of 10 rows cannot be used" in out and "repeat: row 3: " in out
    data, cached = opened(path), codes_of(path, toy, tmp_path / "c")["repeat"]
    assert [row for row in range(10) if cached(row, data.source.key(row)) is None] == [3, 8]
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 0
    assert "2 of 10 rows cannot be used" in capsys.readouterr().out, "also where nothing is left to do"


def test_rows_that_are_all_bad_stop_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("unified.data.code_writer.MAX_BAD_IN_A_ROW", 5)
    path = pictures(tmp_path, bad=range(10))
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 2
    assert "5 rows in a row could not be used; the last was row 4" in capsys.readouterr().err
    assert not made(tmp_path / "c")


# -------------------------------------------------------------------------------------- training


def test_the_dataset_gives_codes_in_place_of_pixels(tmp_path, toy, processor):
    plain, flipped = (
        write_spec(tmp_path / "maps.yaml"),
        write_spec(tmp_path / "flip.yaml", "[random_flip: {}]"),
    )
    assert main(["cache", str(plain), "--tokenizer", "toy", "--out", "c"]) == 0
    tasks = [opened(plain), opened(flipped), opened(load_task("toybox_vqa_count").path)]
    order = MixtureOrder(0, [(d.task.name, ROWS, 1 / 3) for d in tasks])
    codes = open_codes(tmp_path / "c", tasks, "train", toy, 64, "")
    cached, fly = (MixtureDataset(tasks, order, processor, codes=given) for given in (codes, None))
    kinds = set()
    for i in range(24):
        (one, skipped), (other, _) = cached[i], fly[i]
        assert not skipped and other.target_codes is None
        kinds.add((one.task, one.target_codes is not None, one.target_image is not None))
        if one.target_codes is not None:
            assert one.target_codes.dtype == np.int64
            assert np.array_equal(one.target_codes, toy.image.encode(other.target_image[None])[0])
            assert np.array_equal(one.target_code_mask, other.target_code_mask) and one.cost == other.cost
    assert kinds == {("maps", True, False), ("flip", False, True), ("toybox_vqa_count", False, False)}


@pytest.mark.parametrize("side", [16, 24])
def test_codes_that_count_need_no_pixels(side):
    rng = np.random.default_rng(0)
    valid = rng.random((12, 16)) < 0.7
    normals = rng.normal(size=(12, 16, 3))
    geometry = Geometry.flip(Size(16, 12)).then(Geometry.resize_pad(Size(16, 12), side))
    for value in (
        values.Depth(rng.uniform(1, 5, (12, 16)).astype(np.float32), valid),
        values.Depth(rng.uniform(1, 5, (12, 16)).astype(np.float32)),
        values.Normals((normals / np.linalg.norm(normals, axis=2, keepdims=True)).astype(np.float32), valid),
        values.Mask(valid),
        values.Image(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)),
    ):
        _, known = target_pixels(value, geometry, (0, 10))
        assert np.array_equal(known_pixels(value, geometry), known) and 0 < known.sum() < known.size


def test_training_on_cached_codes_is_the_same_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache, "SHARD", 1024)  # as the processes below have it
    plain, flipped = (
        write_spec(tmp_path / "maps.yaml"),
        write_spec(tmp_path / "flip.yaml", "[random_flip: {}]"),
    )
    shape = {
        "d_model": 32, "num_heads": 2, "head_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "d_ff": 48,
    }  # fmt: skip
    config = {
        "run": "fly", "model": {"size": "toy", "overrides": shape}, "tokenizer": "toy",
        "tasks": [str(plain), str(flipped), "toybox_vqa_count"], "data": {"batch_size": 6, "workers": 1},
        "optim": {"lr": 0.01, "steps": 4}, "track": ["jsonl"], "log_every": 1,
    }  # fmt: skip
    (tmp_path / "x.yaml").write_text(json.dumps(config))

    def train(*changes):
        return subprocess.run(
            [sys.executable, ROOT / "train.py", "x.yaml", *changes], capture_output=True, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120,
        )  # fmt: skip

    (tmp_path / "c").mkdir()
    refused = train("run=cached", "data.cache=c")
    assert (
        refused.returncode == 2 and "c lacks the codes of 20 of the 20 train rows of maps" in refused.stderr
    )
    command = refused.stderr.strip().splitlines()[-1].split()
    assert main(command[1:]) == 0, "the message says what to do"
    outs = [train("run=fly"), train("run=cached", "data.cache=c")]
    assert [out.returncode for out in outs] == [0, 0], outs
    assert "of 1 task(s) from c\n  made as they are needed: flip (random_flip moves" in outs[1].stdout

    def curve(run):
        lines = map(json.loads, (tmp_path / run / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]

    assert curve("fly") == curve("cached")
    assert len(curve("fly")) == 4 and any("loss/maps" in step for step in curve("fly"))


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("toybx --tokenizer toy", "unknown mixture or task 'toybx' (did you mean 'toybox'?)"),
        ("zzzz --tokenizer toy", "unknown mixture or task 'zzzz'; see `unified tasks list`"),
        ("gone.yaml --tokenizer toy", "gone.yaml: there is no such file"),
        (", --tokenizer toy", "',' names no mixture and no task"),
        (
            "toybox_refer,toybox_vqa_count --tokenizer toy",
            "no task answers with a picture (boxes, text only)",
        ),
        ("flip.yaml --tokenizer toy", "no task has codes that can be kept:\n  flip: random_flip moves"),
        ("maps.yaml", "give exactly one of --tokenizer SET and --model RUN"),
        ("maps.yaml --tokenizer toy --model toy", "give exactly one of --tokenizer SET and --model RUN"),
        ("maps.yaml --tokenizer to", "tokenizer set 'to': no such set (did you mean 'toy'?)"),
        ("maps.yaml --model gone", "gone: there is no such model"),
        ("maps.yaml --tokenizer toy --split val", "no split 'val'"),
        ("maps.yaml --tokenizer toy --size 63", "--size 63: must be a multiple of 8"),
        ("maps.yaml --tokenizer toy --size no", "'no' is not a whole number"),
        ("maps.yaml --tokenizer toy --shard 3/2", "--shard 3/2: write it as i/n with i from 1 to n"),
        ("maps.yaml --tokenizer toy --shard 0/2", "--shard 0/2: write it as i/n"),
        ("maps.yaml --tokenizer toy --out maps.yaml", "--out: maps.yaml: a file of that name is in the way"),
        ("maps.yaml --tokenizer toy --out maps.yaml/c", "--out: maps.yaml/c: a part of that path is a file"),
        ("maps.yaml --tokenizer unified_io", "the weights of the image tokenizer are not there"),
    ],
)
def test_bad_input(arguments, said, tmp_path, capsys):
    write_spec(tmp_path / "maps.yaml")
    write_spec(tmp_path / "flip.yaml", "[random_flip: {}]")
    before = made(tmp_path)
    assert main(["cache", *arguments.split()]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("error: ") == 1 and "Traceback" not in err
    assert made(tmp_path) == before


def test_a_full_disk_names_the_file(tmp_path, capsys, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = write_spec(tmp_path / "maps.yaml")
    assert main(["cache", str(path), "--tokenizer", "toy", "--out", "c"]) == 2
    assert (
        "train-000000.npy: the disk is full; make room and run the same command again"
        in capsys.readouterr().err
    )
    assert not made(tmp_path / "c")

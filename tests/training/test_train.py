"""train.py as a user runs it, on processes of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import torch
from processes import ROOT, finish, run, start
from safetensors.torch import load_file

from unified.devices import computes_bf16
from unified.evaluation.model_folder import load_model_folder
from unified.specs.load import to_yaml
from unified.training.checkpoints import complete
from unified.training.loop import TIMES

TRAIN = ROOT / "train.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_config):
    folder = tmp_path_factory.mktemp("train")
    (folder / "x.yaml").write_text(to_yaml(run_config))
    return folder


def train(folder, world, *arguments, code=0):
    """Standard output of rank 0 and standard error of all ranks."""
    results = run(world, TRAIN, "x.yaml", *arguments, cwd=folder)
    assert [c for c, *_ in results] == [code] * world, [err[-2000:] for *_, err in results]
    return results[0][1], "".join(err for *_, err in results)


def curve(run):
    """The logged values of each step without those that are times."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.fixture(scope="module")
def whole(folder):
    """A run of two ranks from start to end that draws samples, and what it printed."""
    return folder / "runs/x", train(folder, 2, "samples={every_steps: 20, per_task: 1}")[0]


def test_a_run_says_what_it_does(whole):
    _, out = whole
    assert "8 examples a step = 2 rank(s) x 1 micro-batch(es) x 4 examples; 30 steps = 240 examples" in out
    assert re.search(r"toybox_depth +1,000,000 +25.000%", out)
    assert "starts from random weights" in out and "step 30 (100%)" in out


def test_a_run_learns_and_logs_every_task(whole):
    run, _ = whole
    steps = curve(run)
    assert [s["step"] for s in steps] == list(range(1, 31))
    first, last = (sum(s["loss"] for s in part) / 5 for part in (steps[:5], steps[-5:]))
    assert last < first - 1
    tasks = {k for s in steps for k in s if k.startswith("loss/")}
    assert tasks == {f"loss/toybox_{t}" for t in ("vqa_count", "refer", "depth", "paraphrase")}
    assert list(run.glob("tensorboard/events*"))


def test_a_run_draws_samples_and_ends_with_a_report(whole):
    """That training does not notice is in test_a_stopped_run_continues_to_the_same_bits, which draws none."""
    run, out = whole
    assert [path.name for path in (run / "samples").iterdir()] == ["step_00000020"]
    assert len(list(run.glob("samples/*/toybox_*.png"))) == 4
    page = (run / "report.html").read_text()
    assert "not evaluated yet" in page and "step 20</figcaption>" in page and "train.py x.yaml" in page
    assert f"report: {run.relative_to(run.parents[1])}/report.html" in out


def test_only_the_newest_checkpoints_stay(whole):
    assert [p.name for p in complete(whole[0])] == ["step_00000028", "step_00000030"]
    assert len(list((whole[0] / "checkpoints").iterdir())) == 2


def test_the_exported_folder_is_all_that_evaluation_needs(whole, folder):
    loaded = load_model_folder(whole[0])
    assert loaded.trained and set(loaded.tasks) == set(json.loads(
        (whole[0] / "model/tasks/index.json").read_text()
    ))  # fmt: skip
    assert loaded.processor.tokenizers.hash == json.loads(
        (whole[0] / "checkpoints/step_00000030/meta.json").read_text()
    )["tokenizer"]  # fmt: skip
    card = (whole[0] / "model/README.md").read_text()
    assert (
        "train.py x.yaml" in card
        and "30 steps of 8 examples, seed 0, from random" in card
        and "toybox_depth@v1:" in card
    )
    assert f"{loaded.model.num_parameters():,} parameters" in card


def test_a_stopped_run_continues_to_the_same_bits(whole, folder):
    processes = start(2, TRAIN, "x.yaml", "run=runs/stopped", cwd=folder)
    for line in processes[0].stdout:
        if line.startswith("step 5 "):
            processes[1].send_signal(signal.SIGTERM)  # to the silent rank: both must hear of it
            break
    results = finish(processes)
    assert [code for code, *_ in results] == [143, 143], [err[-2000:] for *_, err in results]
    assert "stopped by SIGTERM at step" in results[0][1]
    stopped = folder / "runs/stopped"
    step = int(complete(stopped)[-1].name.removeprefix("step_"))
    assert 5 <= step < 30 and not (stopped / "model").exists()

    out, _ = train(folder, 2, "run=runs/stopped", "data.workers=0")
    assert f"at step {step:,}" in out
    assert curve(stopped) == curve(whole[0])
    assert (stopped / "model/model.safetensors").read_bytes() == (
        whole[0] / "model/model.safetensors"
    ).read_bytes()


def test_a_report_counts_the_steps_before_the_checkpoint(folder):
    train(folder, 1, "run=runs/thirds", "log_every=3")
    newest_but_one, _ = complete(folder / "runs/thirds")
    assert newest_but_one.name == "step_00000028"
    train(folder, 1, "run=runs/later", "log_every=3", "--resume", str(newest_but_one))
    later, whole = curve(folder / "runs/later"), curve(folder / "runs/thirds")
    assert [line["step"] for line in later] == [30] and later == whole[-1:]


def test_a_run_that_does_not_fit_its_checkpoint_is_refused(whole, folder):
    _, err = train(folder, 2, "data.batch_size=4", "tasks=[toybox_refer]", code=2)
    assert err.count("error: ") == 1  # one rank speaks
    assert "data.batch_size was 8 and is 4" in err
    assert "task toybox_depth: was toybox_depth@v1:" in err and "Traceback" not in err
    _, err = train(folder, 2, "engine.zero=3", code=2)
    assert "cannot bring the optimizer state of engine.zero=0 to 3" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["gone.yaml"], "error: gone.yaml: there is no such file"),
        (["x.yaml", "optim.lrr=1"], "unknown key 'lrr' (did you mean 'lr'?)"),
        (["x.yaml", "track=[jsnl]"], "unknown tracker 'jsnl' (did you mean 'jsonl'?)"),
    ],
)
def test_mistakes_are_one_message_and_code_2(folder, arguments, message):
    (code, out, err), *_ = run(1, TRAIN, *arguments, cwd=folder)
    assert code == 2 and message in err and "Traceback" not in err and out == ""
    (code, _, err), *_ = run(1, TRAIN, *arguments, "--debug", cwd=folder)
    assert code == 2 and "Traceback" in err


def test_two_jobs_at_one_port(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "1"}
        done = subprocess.run(
            [sys.executable, TRAIN, "x.yaml", "run=runs/second"],
            env={**os.environ, **place, "RANK": "0", "LOCAL_RANK": "0", "PYTHONPATH": str(ROOT)},
            cwd=folder, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    assert done.returncode == 2
    assert f"error: the ranks cannot meet at 127.0.0.1:{port}" in done.stderr
    assert "deepspeed --master_port N" in done.stderr and "Traceback" not in done.stderr


def test_automatic_precision_is_settled_before_anything_is_built(folder):
    out, _ = train(folder, 2, "--dry-run", "run=runs/auto", "engine.precision=auto")
    assert f"precision: {'autocast_bf16' if computes_bf16('cpu') else 'fp32'}\n" in out
    assert "warning: engine.precision" not in out and "dry run: one step in" in out


def test_a_dry_run_writes_nothing(folder):
    out, _ = train(folder, 1, "--dry-run", "run=runs/dry", "engine.zero=1", "engine.precision=bf16")
    assert "parameters; " in out and "a rank before activations" in out
    assert "dry run: one step in" in out
    assert not (folder / "runs/dry").exists()


@pytest.mark.slow
@pytest.mark.parametrize("zero", [1, 2, 3])
def test_zero_stages_train_and_export_the_same(whole, folder, zero):
    train(folder, 2, f"engine.zero={zero}", f"run=runs/zero{zero}")
    for mine, theirs in zip(curve(folder / f"runs/zero{zero}"), curve(whole[0]), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    loaded, plain = load_model_folder(folder / f"runs/zero{zero}"), load_model_folder(whole[0])
    for (name, a), b in zip(loaded.model.named_parameters(), plain.model.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-3, name


@pytest.mark.slow
def test_a_model_that_reads_codes(folder):
    changes = "model.overrides.image_input=codes", "model.overrides.patch_size=4", "engine.zero=3"
    train(folder, 2, *changes, "run=runs/codes")
    steps = curve(folder / "runs/codes")
    assert steps[-1]["loss"] < steps[0]["loss"] - 1


@pytest.mark.slow
def test_training_starts_from_an_exported_model(whole, folder):
    out, _ = train(
        folder, 1, "init=runs/x", "model={}", "tokenizer=null", "run=runs/fine", "optim.steps=2",
        "engine.precision=autocast_bf16", "optim.lr=1e-9", "ema=null",
    )  # fmt: skip
    assert "starts from runs/x" in out
    a, b = load_model_folder(whole[0]).model, load_model_folder(folder / "runs/fine").model
    for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True):
        assert (x - y).abs().max() < 1e-6, name


LAUNCHERS = {
    "deepspeed": ["-m", "deepspeed.launcher.runner", "--num_accelerators", "2", "--master_port"],
    "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"],
}


def launch(folder, launcher, *arguments):
    """The launcher's process, leader of a process group that all ranks belong to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return subprocess.Popen(
        [sys.executable, *LAUNCHERS[launcher], port, str(TRAIN), "x.yaml", *arguments],
        env={k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | {"PYTHONPATH": str(ROOT)},
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_job_saves(folder, launcher, number):
    """As a terminal or a batch system sends it: to launcher, ranks and data workers at once."""
    run = f"runs/{launcher}_{number.name}"
    job = launch(folder, launcher, f"run={run}", "optim.steps=100000", "data.workers=2", "log_every=1")
    out = []
    for line in job.stdout:
        out.append(line)
        if line.startswith("step 5 "):
            os.killpg(job.pid, number)
    assert job.wait(60) != 0
    text = "".join(out)
    assert f"stopped by {number.name} at step" in text, text[-3000:]
    step = int(re.search(r"at step ([\d,]+) and saved", text)[1].replace(",", ""))
    assert complete(folder / run)[-1].name == f"step_{step:08d}"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers(folder, launcher):
    job = launch(folder, launcher, f"run=runs/{launcher}", "optim.steps=3")
    out, _ = job.communicate(timeout=300)
    assert job.returncode == 0, out[-3000:]
    assert "2 rank(s) x 1 micro-batch(es) x 4 examples" in out
    card = (folder / "runs" / launcher / "model/README.md").read_text()
    assert f"`train.py x.yaml run=runs/{launcher} optim.steps=3`" in card  # without the launcher's own words
    threads = int(re.search(r"(\d+) thread\(s\) a rank", out)[1])
    assert threads == max(1, len(os.sched_getaffinity(0)) // 2)


# ----------------------------------------------------------------------------------------- packing


def test_packed_training_is_padded_training(folder, whole):
    same = ("optim.steps=6", "model.overrides.dropout=0")
    train(folder, 2, "run=runs/packed", "data.packing={encoder: 320, decoder: 80}", *same)
    train(folder, 2, "run=runs/padded", *same)
    packed, padded = curve(folder / "runs/packed"), curve(folder / "runs/padded")
    assert len(packed) == 6
    for ours, theirs in zip(packed, padded, strict=True):
        assert ours.pop("fill") > theirs.pop("fill") + 0.1
        assert ours == pytest.approx(theirs, abs=2e-4)


def test_unseen_patches_cost_nothing(folder, whole):
    train(folder, 1, "run=runs/few", "data.packing={encoder: 320, decoder: 80}", "data.patches=4",
          "optim.steps=2")  # fmt: skip
    assert len(curve(folder / "runs/few")) == 2
    out, err = train(folder, 1, "run=runs/few", "data.patches=4", code=2)
    assert "data.patches" in err and "data.packing" in err


@pytest.mark.slow
def test_compiled_layers_give_the_same_losses(folder):
    same = ("data.packing={encoder: 320, decoder: 80}", "optim.steps=3", "model.overrides.dropout=0")
    train(folder, 1, "run=runs/eager", *same)
    train(folder, 1, "run=runs/compiled", "engine.compile=true", *same)
    for ours, theirs in zip(curve(folder / "runs/compiled"), curve(folder / "runs/eager"), strict=True):
        assert ours == pytest.approx(theirs, abs=2e-4)


# ------------------------------------------------------------------------------------ other ranks


def continued(folder, name, *arguments, world=1, code=0):
    """The losses of a run of two ranks, and those of `world` ranks that go on from its middle."""
    same = ("model.overrides.dropout=0", "optim.steps=8", "checkpoint.keep=3")
    train(folder, 2, f"run=runs/{name}", *same, *arguments[:1])
    run = folder / "runs" / name
    shutil.copytree(run, moved := folder / "runs" / f"{name}_moved")
    shutil.rmtree(moved / "checkpoints/step_00000008")
    out, err = train(folder, world, f"run=runs/{name}_moved", *same, *arguments, code=code)
    return curve(run), curve(moved), out, err


@pytest.mark.parametrize(
    "zero, then",
    [
        (3, 3),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2)]),
    ],
)
def test_a_run_continues_on_another_number_of_ranks(folder, zero, then):
    name = f"elastic_{zero}{then}"
    whole, moved, out, _ = continued(folder, name, f"engine.zero={zero}", f"engine.zero={then}")
    assert "at step 4" in out
    assert [step["step"] for step in moved] == list(range(1, 9))
    for ours, theirs in zip(moved, whole, strict=True):
        ours.pop("fill"), theirs.pop("fill")  # other micro-batches, other padding
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert not list((folder / "runs" / f"{name}_moved" / "checkpoints").glob(".universal*"))
    ours, theirs = (
        load_file(folder / "runs" / run / "model/model.safetensors") for run in (f"{name}_moved", name)
    )
    for key, weight in ours.items():
        torch.testing.assert_close(weight, theirs[key], atol=1e-4, rtol=0)

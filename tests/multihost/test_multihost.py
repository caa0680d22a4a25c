"""The commands of docs/multinode.md on two hosts, each a network namespace: the losses of one host."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cluster
import pytest

from unified.specs.load import to_yaml
from unified.training.loop import TIMES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/multinode.md").read_text()
FORMS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S)
CONFIG = {
    "run": "runs/x",
    "model": {
        "size": "toy",
        "overrides": {
            "d_model": 32, "num_heads": 2, "head_dim": 16, "encoder_layers": 1, "decoder_layers": 1,
            "d_ff": 48,
        },
    },
    "tokenizer": "toy",
    "tasks": ["toybox_vqa_count", "toybox_refer", "toybox_depth", "toybox_paraphrase"],
    "data": {"batch_size": 8, "workers": 0},
    "optim": {"lr": 0.01, "steps": 4},
    "engine": {"zero": 1},
    "track": ["jsonl"],
    "log_every": 1,
}  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """The folder of the commands that enter the hosts."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("needs `ip` (iproute2) and `unshare`")
    folder = tmp_path_factory.mktemp("bin")
    os.environ[cluster.SUFFIX] = str(os.getpid())
    try:
        cluster.start(folder)
    except subprocess.CalledProcessError as error:
        cluster.stop()
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
    yield folder
    cluster.stop()
    del os.environ[cluster.SUFFIX]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands are run: a shared folder."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "configs").mkdir()
    (folder / "configs/small.yaml").write_text(to_yaml(CONFIG))
    (folder / "train.py").symlink_to(ROOT / "train.py")
    (folder / "hosts").write_text("alpha slots=1\nbeta slots=1\n")
    return folder


def finish(folder, *commands, path):
    """Runs commands side by side; their output."""
    dropped = ("OMP_NUM_THREADS", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {k: v for k, v in os.environ.items() if k not in dropped}
    environment["PATH"] = os.pathsep.join([*map(str, path), os.environ["PATH"]])
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            command, shell=True, cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for command in commands
    ]  # fmt: skip
    try:
        output = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for process, text in zip(started, output, strict=True):
        assert process.returncode == 0, text[-4000:]
    return output


def curve(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.fixture(scope="module")
def one_host(folder):
    """The steps of two ranks on this machine."""
    python = Path(sys.executable).parent
    command = "torchrun --standalone --nproc-per-node 2 train.py configs/small.yaml run=runs/one"
    finish(folder, command, path=[python])
    return curve(folder / "runs/one")


def of_form(name):
    """The commands of the page's block that uses `name`, for hosts of one process each."""
    (block,) = [block for block in FORMS if name in block]
    lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
    return [line.split("  #")[0].replace("per-node 8", "per-node 1") for line in lines]


def test_every_command_of_the_page_is_run():
    assert len(FORMS) == 4 and sum(len(of_form(name)) for name in FORM_NAMES) == len(
        [line for block in FORMS for line in block.splitlines() if line.strip() and not line.startswith("#")]
    )


FORM_NAMES = ["deepspeed --hostfile hosts train.py", "--no_ssh", "torchrun", "srun"]


@pytest.mark.parametrize("form", FORM_NAMES)
def test_two_hosts_learn_as_one(hosts, folder, one_host, form):
    commands = of_form(form)
    if len(commands) == 2:  # one for each host
        commands = [f"at {host} {command}" for host, command in zip(cluster.ADDRESSES, commands, strict=True)]
    name = form.split()[0].strip("-")
    output = finish(
        folder,
        *(f"{command} run=runs/{name}" for command in commands),
        path=[hosts, Path(sys.executable).parent],
    )
    assert "8 examples a step = 2 rank(s) x" in "".join(output)
    steps = curve(folder / "runs" / name)
    assert len(steps) == 4 and steps[-1]["loss"] != steps[0]["loss"]
    assert steps == one_host

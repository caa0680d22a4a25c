"""Threads and ranks from the environment, as every launcher sets it."""

import os
import subprocess
import sys

import pytest

from unified.training.launch import usable_cores

SHOW = (
    "import os, sys; from unified.training.launch import prepare_environment, is_main; prepare_environment();"
    "assert 'torch' not in sys.modules; e = os.environ;"
    "print(e['OMP_NUM_THREADS'], e['RANK'], e['WORLD_SIZE'], e['MASTER_ADDR'], e.get('GOMP_SPINCOUNT'),"
    "is_main())"
)
DROPPED = ("OMP_NUM_THREADS", "RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def shown(parent=None, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in DROPPED}
    command = [sys.executable, "-c", SHOW]
    if parent is not None:  # as a child of a process with `parent`'s environment, changed for the child
        changes = ", ".join(f"{k}={v!r}" for k, v in environment.items())
        code = (
            f"import os, subprocess; subprocess.run({command!r}, env=dict(os.environ, {changes}), check=True)"
        )
        command, environment = [sys.executable, "-c", code], parent
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_one_plain_process():
    threads, rank, world, address, spins, main = shown()
    assert (int(threads), rank, world, address, main) == (usable_cores(), "0", "1", "127.0.0.1", "True")
    assert spins == "1000"
    assert shown(OMP_WAIT_POLICY="ACTIVE")[4] == "None"


def test_the_user_s_threads_stand():
    assert shown(OMP_NUM_THREADS="3")[0] == "3"


@pytest.mark.parametrize("name", ["LOCAL_SIZE", "LOCAL_WORLD_SIZE"])
def test_cores_are_divided_among_local_ranks(name):
    ranks = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "h",
        "MASTER_PORT": "1",
        name: "2",
    }
    threads, rank, world, address, _, main = shown(**ranks)
    assert (int(threads), rank, world, address, main) == (max(1, usable_cores() // 2), "1", "2", "h", "False")


def test_one_thread_by_torchrun_is_not_the_user_s_choice():
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1"}
    assert int(shown(parent={}, **torchrun)[0]) == usable_cores()
    assert shown(parent={"OMP_NUM_THREADS": "1"}, **torchrun)[0] == "1"

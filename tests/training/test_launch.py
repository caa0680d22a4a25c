"""Threads and ranks from the environment, as every launcher sets it."""

import os
import subprocess
import sys

import psutil
import pytest

from unified.training.launch import usable_cores

SHOW = (
    "import os, sys; from unified.training.launch import prepare_environment, is_main; prepare_environment();"
    "assert 'torch' not in sys.modules; e = os.environ;"
    "print(e['OMP_NUM_THREADS'], e['RANK'], e['WORLD_SIZE'], e['MASTER_ADDR'], e.get('GOMP_SPINCOUNT'),"
    "is_main(), e['LOCAL_RANK'], e.get('LOCAL_WORLD_SIZE'), e['MASTER_PORT'], e.get('GLOO_SOCKET_IFNAME'))"
)
DROPPED = ("OMP_NUM_THREADS", "RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",
           "MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE", "LOCAL_SIZE", "GLOO_SOCKET_IFNAME")  # fmt: skip


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
    threads, rank, world, address, spins, main, *_ = shown()
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
    threads, rank, world, address, _, main, *_ = shown(**ranks)
    assert (int(threads), rank, world, address, main) == (max(1, usable_cores() // 2), "1", "2", "h", "False")


def test_one_thread_by_torchrun_is_not_the_user_s_choice():
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1"}
    assert int(shown(parent={}, **torchrun)[0]) == usable_cores()
    assert shown(parent={"OMP_NUM_THREADS": "1"}, **torchrun)[0] == "1"


def slurm(**changes):
    """The third of seven tasks on three hosts with 3, 3 and 1."""
    return shown(
        **{
            "SLURM_JOB_ID": "123456", "SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_NODELIST": "gpu[007-008,012]",
            "SLURM_STEP_TASKS_PER_NODE": "3(x2),1", "SLURM_NODEID": "1", "SLURM_LOCALID": "0",
            "SLURM_PROCID": "3", "GLOO_SOCKET_IFNAME": "ib0", **changes,
        }
    )  # fmt: skip


def test_tasks_of_srun_are_ranks_of_one_run():
    threads, rank, world, address, _, main, local, per_host, port, interface = slurm()
    assert (rank, world, local, per_host, main) == ("3", "7", "0", "3", "False")
    assert (address, port) == ("gpu007", "23456")
    assert int(threads) == max(1, usable_cores() // 3)
    assert interface == "ib0"


def test_what_srun_s_user_sets_stands():
    assert slurm(MASTER_PORT="29999", MASTER_ADDR="10.0.0.7")[8] == "29999"
    assert slurm(SLURM_CPUS_PER_TASK="5")[0] == "5"
    assert slurm(SLURM_CPUS_PER_TASK="5", OMP_NUM_THREADS="4")[0] == "4"
    assert slurm(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", MASTER_ADDR="h", MASTER_PORT="1")[2] == "2"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a,b", "a"), ("n-1", "n-1"), ("n[1-4]", "n1"), ("n[03,07]", "n03"), ("n[1-2]-ib,m4", "n1-ib")],
)
def test_the_first_host_of_slurm_s_list(nodes, first):
    assert slurm(SLURM_STEP_NODELIST=nodes)[3] == first


def test_one_task_of_srun_is_a_plain_process():
    assert slurm(SLURM_STEP_NUM_TASKS="1")[1:4] == ["0", "1", "127.0.0.1"]


def test_gloo_takes_the_interface_that_leads_to_the_first_host():
    addresses = {a.address: name for name, found in psutil.net_if_addrs().items() for a in found}
    others = [a for a, name in addresses.items() if name != "lo" and "." in a]
    if not others:
        pytest.skip("this machine has no network")
    ranks = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": "1", "LOCAL_WORLD_SIZE": "1"}
    assert shown(**ranks, MASTER_ADDR=others[0])[9] == addresses[others[0]]
    assert shown(**ranks, MASTER_ADDR=others[0], GLOO_SOCKET_IFNAME="ib0")[9] == "ib0"
    # a host whose own name is a loopback address, as Debian has it
    assert shown(**ranks, MASTER_ADDR="127.0.1.1")[9] != "lo"
    assert shown(**{**ranks, "LOCAL_WORLD_SIZE": "2"}, MASTER_ADDR=others[0])[9] == "None"

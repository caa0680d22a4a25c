"""Ranks that die, or fail alone, end the others: also those that wait for something else."""

import os
import signal
import time

import pytest
from jobs import finish, run, run_until

TALK = """
import os, sys, time
import torch.distributed as dist
from unified.training.peers import Peers
rank, world, master = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), os.environ["MASTER_ADDR"]
store = dist.TCPStore(master, int(os.environ["MASTER_PORT"]), world, rank == 0)
peers = Peers(rank, world, store, master, 60)
what = sys.argv[1 + rank]
if what == "waits":
    time.sleep(120)  # in no collective
time.sleep(1)
if what == "dies":
    os._exit(0)  # as good as killed
peers.leave("its file is gone" if what == "fails" else None)
"""


@pytest.fixture
def talk(tmp_path):
    file = tmp_path / "talk.py"
    file.write_text(TALK)
    return lambda *what: run(len(what), file, *what, timeout=300)


def test_all_hear_of_one_that_died(talk):
    (first, _, said), _, (last, _, quiet) = talk("waits", "dies", "waits")
    assert first == last == 1
    assert "rank 1 died" in said and "the same command continues" in said and "rank 1" not in quiet


def test_all_hear_of_the_first_one(talk):
    for code, _, said in talk("dies", "waits", "waits")[1:]:
        assert code == 1 and "rank 0 died" in said


def test_one_that_fails_alone_is_quoted(talk):
    (first, _, said), (second, *_), (third, _, quiet) = talk("waits", "fails", "waits")
    assert (first, second, third) == (2, 0, 2)
    assert said.count("error: rank 1: its file is gone") == 1 and "error" not in quiet


def test_leaving_in_good_order_ends_nobody(talk):
    assert [code for code, *_ in talk("leaves", "leaves", "leaves")] == [0, 0, 0]


@pytest.mark.parametrize("victim, zero", [(0, 2), (1, 0)])
def test_a_rank_that_is_killed_ends_the_run(config, victim, zero):
    folder = config(optim={"lr": 0.01, "steps": 100_000}, engine={"zero": zero})
    processes = run_until(5, 2, cwd=folder)
    os.kill(processes[victim].pid, signal.SIGKILL)  # its data worker is left to itself
    killed = time.monotonic()
    results = finish(processes, timeout=60)
    assert time.monotonic() - killed < 60
    code, _, err = results[1 - victim]
    assert code == 1 and f"error: rank {victim} died" in err and "Traceback" not in err, err[-2000:]

"""The engine on one and two processes: the split of a step changes nothing, nor does the ZeRO stage."""

import json
import math
from pathlib import Path

import pytest
from processes import run

WORKER = Path(__file__).with_name("worker.py")


def stages(folder, world, accumulation, *names):
    out = folder / f"{world}x{accumulation}.json"
    for code, _, err in run(world, WORKER, out, accumulation, *names):
        assert code == 0, err[-3000:]
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One rank, two micro-batches a step."""
    return stages(tmp_path_factory.mktemp("one"), 1, 2, "losses", "weights", "not_a_number")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two ranks, one micro-batch a step each."""
    names = "losses", "weights", "unlike_ranks", "resume", "not_a_number", "agreement", "left_out"
    names += ("too_many_left_out",)
    return stages(tmp_path_factory.mktemp("two"), 2, 1, *names)


def close(a, b, rel=2e-5):
    assert len(a) == len(b) == 3
    for x, y in zip(a, b, strict=True):
        assert x == pytest.approx(y, rel=rel)


@pytest.mark.parametrize("kind", ["0", "1", "2", "3", "adafactor"])
def test_ranks_and_accumulation_give_the_same_steps(one, two, kind):
    close(one["losses"][kind], two["losses"][kind])
    first, last = one["losses"][kind][0][0], one["losses"][kind][2][0]
    assert last < first - 0.1  # it learns, or equal losses would say little


@pytest.mark.parametrize("zero", ["1", "2", "3"])
def test_zero_stages_give_the_same_steps(two, zero):
    close(two["losses"]["0"], two["losses"][zero])


def test_autocast_follows_float32(two):
    plain, cast = two["losses"]["0"], two["losses"]["autocast"]
    assert cast != plain
    close(plain, cast, rel=0.02)


def test_exported_weights_are_whole(one, two):
    for kind in ("plain", "mean"):
        expected = one["weights"]["0"][kind]
        for got in (one["weights"]["3"][kind], two["weights"]["0"][kind], two["weights"]["3"][kind]):
            assert got["shapes"] == expected["shapes"]
            assert got["sums"] == pytest.approx(expected["sums"], rel=1e-4)
    assert one["weights"]["0"]["plain"]["sums"] != pytest.approx(
        one["weights"]["0"]["mean"]["sums"], rel=1e-4
    )


def test_ranks_of_unlike_tasks_do_not_hang(two):
    losses = [loss for loss, *_ in two["unlike_ranks"]]
    assert len(losses) == 3 and all(0 < loss < 20 for loss in losses)


@pytest.mark.parametrize("zero", ["0", "2", "3"])
def test_resumed_equals_uninterrupted_to_the_bit(two, zero):
    run = two["resume"][zero]
    assert run["got"] == run["expected"]
    assert run["digests"][0] == run["digests"][1]


def test_a_loss_that_is_no_number_names_its_tasks(one, two):
    for message in (one["not_a_number"], two["not_a_number"]):
        assert "step 1: the loss of look, paint is not a number" in message
        assert "Tasks in the step: text, look, paint" in message


@pytest.mark.parametrize("zero", ["0", "1", "2", "3"])
def test_a_step_that_is_left_out_changes_nothing(two, zero):
    """Met by one rank alone, at the very first step and after others."""
    run = two["left_out"][zero]
    assert all(math.isnan(norm) for norm in run["skipped"])
    assert run["got"] == run["expected"]
    assert run["digests"][0] == run["digests"][1]
    assert list(run["records"]) == ["step_00000001.json", "step_00000004.json"]
    record = run["records"]["step_00000004.json"]
    assert record["step"] == 4 and record["tasks"] == ["look", "paint"]
    fine = {part["rank"]: part["is_a_number"] for part in record["micro_batches"]}
    assert fine == {0: True, 1: False}
    assert [len(part["rows"]) for part in record["micro_batches"]] == [6, 6]
    assert {row["task"] for row in record["micro_batches"][1]["rows"]} == {"text", "look", "paint"}


def test_not_every_step_is_left_out(two):
    step, message = two["too_many_left_out"]
    assert step == 19 and "20 steps in a row" in message and "not_a_number/step_00000020.json" in message


def test_ranks_agree(two):
    calm, stopped = two["agreement"]
    assert calm[1:] == [5.0, 0, 0]  # rank 0's clock
    assert stopped[1:] == [5.0, 15, 1]
    assert 0 < stopped[0] < calm[0]


@pytest.mark.slow
def test_bf16_engines_agree(tmp_path):
    one = stages(tmp_path, 1, 2, "bf16")["bf16"]
    two = stages(tmp_path, 2, 1, "bf16")["bf16"]
    for zero in ("1", "2", "3"):
        close(one[zero]["steps"], two[zero]["steps"], rel=0.02)
        close(one["1"]["steps"], one[zero]["steps"], rel=0.02)
        assert one["1"]["digest"]["sums"] == pytest.approx(two[zero]["digest"]["sums"], rel=0.01)

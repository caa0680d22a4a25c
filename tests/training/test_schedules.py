import pytest

from unified.training.config import OptimConfig
from unified.training.schedules import learning_rate, progress


def rates(steps, **changes):
    optim = OptimConfig(**{"lr": 1.0, "steps": 100, "warmup_steps": 10, **changes})
    return [learning_rate(optim, step) for step in steps]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "inverse_sqrt"])
def test_warm_up_is_linear(schedule):
    assert rates([0, 4, 9], schedule=schedule) == pytest.approx([0.1, 0.5, 1.0])


def test_constant_stays():
    assert rates([10, 50, 99], schedule="constant") == [1.0, 1.0, 1.0]


def test_cosine_falls_to_its_floor():
    assert rates([50], schedule="cosine") == pytest.approx([0.5])
    assert rates([99], schedule="cosine")[0] < 0.001
    assert rates([50, 100], schedule="cosine", final_lr=0.1) == pytest.approx([0.55, 0.1])


def test_inverse_square_root_continues_the_warm_up():
    assert rates([9, 39, 159], schedule="inverse_sqrt") == pytest.approx([1.0, 0.5, 0.25])
    assert rates([0, 3], schedule="inverse_sqrt", warmup_steps=0) == pytest.approx([1.0, 0.5])


def test_the_clock_drives_a_run_with_a_time_budget():
    optim = OptimConfig(lr=1.0, minutes=2.0)
    assert [progress(optim, 7, s) for s in (0, 60, 120, 500)] == [0.0, 0.5, 1.0, 1.0]
    assert learning_rate(optim, 7, 60.0) == pytest.approx(0.5)
    both = OptimConfig(lr=1.0, minutes=2.0, steps=100)
    assert progress(both, 75, 60.0) == 0.75 and progress(both, 25, 60.0) == 0.5

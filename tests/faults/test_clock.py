"""The clock of the system is set back, again and again, while a run logs and saves."""

import json

from jobs import curve, run

from unified.training.checkpoints import complete

BACKWARDS = """
import sys, time
now = time.time()
def set_back():
    global now
    now -= 3600.0
    return now
time.time = set_back
import train
sys.exit(train.main(sys.argv[1:]))
"""


def test_time_that_runs_backwards(config, whole):
    folder = config(
        track=["jsonl", "tensorboard"],
        checkpoint={"every_minutes": 0.001, "keep": 3},
        optim={"lr": 0.01, "steps": 24, "schedule": "constant"},
    )
    (folder / "backwards.py").write_text(BACKWARDS)
    results = run(2, folder / "backwards.py", "x.yaml", cwd=folder)
    assert [code for code, *_ in results] == [0, 0], results[0][2][-3000:]
    logged = list(map(json.loads, (folder / "runs/x/metrics.jsonl").read_text().splitlines()))
    seconds = [line["seconds"] for line in logged]
    assert seconds == sorted(seconds) and seconds[0] > 0 and seconds[-1] < 3600
    assert all(line["tokens_per_second"] > 0 and 0 <= line["data_wait"] <= 1 for line in logged)
    assert [p.name for p in complete(folder / "runs/x")][-1] == "step_00000024"
    assert len(complete(folder / "runs/x")) == 3
    assert curve(folder / "runs/x") == whole

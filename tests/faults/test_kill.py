"""A run that is killed at random moments and resumed is the run that was not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_thirty_kills():
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kill", "--kills", os.environ.get("UNIFIED_KILLS", "30")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    counts = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z ]+)", done.stdout.replace("; ", "\n"))}
    assert counts["kills"] >= 30 and counts["kills in a save"] >= 5
    assert "every loss and all exported weights are those of the whole runs, bit for bit" in done.stdout

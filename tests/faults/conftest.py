import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "training"))
from jobs import TRAIN, curve, run, write_config  # noqa: E402


@pytest.fixture
def config(tmp_path):
    """Writes x.yaml, a run of a tiny model, with changes to it; the folder that it is in."""
    return lambda **changes: write_config(tmp_path, **changes)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """What two ranks log of that run when nothing happens to them."""
    folder = write_config(tmp_path_factory.mktemp("whole"))
    results = run(2, TRAIN, "x.yaml", cwd=folder)
    assert [code for code, *_ in results] == [0, 0], results
    return curve(folder / "runs/x")

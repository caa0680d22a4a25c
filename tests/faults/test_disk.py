"""A disk that fills up while a checkpoint is written."""

import contextlib
import resource
import subprocess
import sys

import pytest
from jobs import TRAIN, curve, finish, run, run_until

from unified.training.checkpoints import complete


class Limit:
    """No file of a rank may grow beyond a megabyte."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def fill(self, processes):
        for process in processes:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))

    def free(self):
        pass


class SmallDisk(Limit):
    """A file system of 40 megabytes that somebody else fills."""

    def __enter__(self):
        self.folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(self.folder)]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a tmpfs is not permitted here")
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, processes):
        with (self.folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass

    def free(self):
        (self.folder / "filler").unlink()


@pytest.mark.parametrize("kind", [Limit, SmallDisk])
def test_the_last_complete_checkpoint_stays(config, whole, kind):
    folder = config()
    with kind(folder / "runs") as disk:
        processes = run_until(5, 2, cwd=folder)
        disk.fill(processes)
        results = finish(processes, timeout=120)
        errors = "".join(err for *_, err in results)
        assert [code for code, *_ in results] == [2, 2], errors[-3000:]
        assert "could not be written" in errors and "make room, and the same command" in errors
        assert errors.count("error: ") == 1 and "Traceback" not in errors, errors[-3000:]
        newest = complete(folder / "runs/x")[-1]
        assert 4 <= int(newest.name.removeprefix("step_")) < 24

        disk.free()
        (code, out, err), _ = run(2, TRAIN, "x.yaml", cwd=folder)
        assert code == 0 and f"continues runs/x/checkpoints/{newest.name}" in out, err[-2000:]
        assert curve(folder / "runs/x") == whole

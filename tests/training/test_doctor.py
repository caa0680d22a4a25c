"""What the doctor finds, and what it says where something is wrong."""

import importlib
import shutil
import subprocess
from collections import namedtuple
from importlib import metadata

import pytest

from unified.cli import main
from unified.training import doctor

Usage = namedtuple("Usage", "total used free")


def found(checks, name):
    return next(finding for finding in checks if finding.name == name)


def test_this_machine_has_what_it_needs(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "0 to mend" in out or "all is well" in out
    assert f"torch {metadata.version('torch')}" in " ".join(out.split())
    assert "2,458,816 parameters, 50 tasks" in out


def test_a_package_that_is_absent_fails(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    monkeypatch.setattr(doctor, "_shipped", lambda: iter(()))
    assert main(["doctor"]) == 1
    assert "X no-such-package" in (out := capsys.readouterr().out) and "pip install no-such-package" in out


def test_torchvision_of_another_torch_is_told(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist\nat line 3")

    monkeypatch.setattr(metadata, "version", lambda name: "0.1")
    monkeypatch.setattr(importlib, "import_module", broken)
    finding = found(doctor._torchvision(), "torchvision")
    assert finding.state == "bad" and "nms does not exist)" in finding.text
    assert "pip uninstall torchvision" in finding.text


def test_room_on_disk(monkeypatch, tmp_path):
    assert found(doctor._disk(tmp_path / "not/there/yet"), "disk").text.endswith(f"free in {tmp_path}")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(2**30, 0, 2**30))
    assert found(doctor._disk(tmp_path), "disk").state == "note"
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert found(doctor._disk(tmp_path / "file"), "disk").state == "bad"


def test_little_shared_memory(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(64 * 2**20, 0, 0))
    finding = found(doctor._shared_memory(), "shared memory")
    assert finding.state == "note" and "--shm-size" in finding.text


def test_a_compiler_that_is_absent(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "g++" else name)
    finding = found(doctor._deepspeed(), "DeepSpeed ops")
    assert finding.state == "bad" and "install g++" in finding.text


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_in_bash(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "unified.bash").write_text(capsys.readouterr().out)

    def completed(*words):
        script = (
            f"source {tmp_path}/unified.bash; COMP_WORDS=(unified {' '.join(words)}); "
            f"COMP_CWORD={len(words)}; _shtab_unified; echo ${{COMPREPLY[@]}}"
        )
        return subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()

    assert completed("ta") == ["tasks"]
    assert {"list", "show", "check"} <= set(completed("tasks", "''"))
    assert "--image" in completed("prompt", "--im")

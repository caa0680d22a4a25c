"""`unified app`."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx

from unified.cli import main
from unified.cli.serve import listen


def test_a_busy_port(capsys):
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        assert main(["app", "--port", str(taken.getsockname()[1])]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot listen at 127.0.0.1:") and said.count("\n") == 1


def test_an_unknown_model(capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # put back behind the command, which sets them
    with listen("127.0.0.1", 0) as free:
        port = str(free.getsockname()[1])
    assert main(["app", "runs/nothing", "--port", port]) == 2
    assert "runs/nothing" in capsys.readouterr().err


def test_it_serves_until_it_is_stopped(tmp_path):
    with listen("127.0.0.1", 0) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "unified", "app", "--port", port]
    # a proxy that is not there, as on machines without a network
    environ = {**os.environ, "TMPDIR": str(tmp_path), "http_proxy": "http://127.0.0.1:9"}
    environ.pop("GRADIO_TEMP_DIR", None)
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        assert app.stdout.readline() == f"toy: http://127.0.0.1:{port}/\n"
        assert httpx.get(f"http://127.0.0.1:{port}", trust_env=False).status_code == 200
        assert [path.name[:12] for path in tmp_path.iterdir()] == ["unified-app-"]
        app.terminate()
        assert app.wait(30) == 130
        assert not list(tmp_path.iterdir())  # uploads are gone
    finally:
        app.kill()

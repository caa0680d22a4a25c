"""Every ```bash block of these pages is run, in order, in an empty folder beside a copy of what it names."""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified.training.config import DataConfig, EngineConfig, OptimConfig
from unified.values import types as values
from unified.values.draw import draw

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests/conversion"))
import official  # noqa: E402


def commands(page):
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), flags=re.S):
        yield from (line for line in block.splitlines() if line.strip() and not line.startswith("#"))


def run(command, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def beside(folder, *names):
    for name in names:
        (folder / name).symlink_to(ROOT / name)


def tiny_demo(folder):
    """runs/demo, of two steps of a tiny model."""
    shape = "{d_model: 32, num_heads: 2, head_dim: 16, encoder_layers: 1, decoder_layers: 1, d_ff: 48}"
    changes = [
        "init=null", "model.size=toy", f"model.overrides={shape}", "tokenizer=toy", "mixture=null",
        "tasks=[toybox_refer]", "optim.minutes=null", "optim.steps=2", "eval.at_end=false",
        "data.micro_batch=32",
    ]  # fmt: skip
    run(f"python {ROOT / 'train.py'} demo {' '.join(map(shlex.quote, changes))}", folder)


def test_checkpoints(tmp_path):
    tiny_demo(tmp_path)
    info, exported = (run(command, tmp_path) for command in commands("docs/checkpoints.md"))
    assert "2, 64 examples" in info and "runs/again/model" in exported
    assert (tmp_path / "runs/again/model/model.safetensors").exists()


def test_add_a_task(tmp_path):
    beside(tmp_path, "docs", "configs", "train.py")
    outputs = {command: run(command, tmp_path) for command in commands("docs/add_a_task.md")}
    inspected, trained = (v for k, v in outputs.items() if k.startswith("python train.py"))
    assert "wrote runs/balls/inspect.html" in inspected and "200" in trained
    assert (tmp_path / "preview.html").exists() and (tmp_path / "runs/balls/inspect.html").exists()
    answer = next(v for k, v in outputs.items() if k.startswith("unified prompt")).strip()
    assert answer in {"none", "one", "two", "five"}
    # 200 steps on twenty rows: the model has learnt them, not just the format
    assert answer == "one"
    text = (tmp_path / "my_data/count_balls.yaml").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 25


def test_cache(tmp_path):
    beside(tmp_path, "docs", "configs", "train.py")
    made, trained = (run(command, tmp_path) for command in commands("docs/cache.md"))
    assert "20 rows encoded, 0 were there; runs/codes" in made
    assert "image codes: of 1 task(s) from runs/codes" in trained and "dry run: one step" in trained


def test_mixtures(tmp_path):
    beside(tmp_path, "docs")
    page = (ROOT / "docs/mixtures.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.S)
    assert example == (ROOT / "docs/example/mixture.yaml").read_text()
    shown, lengths = (run(command, tmp_path) for command in commands("docs/mixtures.md"))
    assert f"```\n{shown}```" in page
    assert "data: {packing: {encoder: " in lengths
    shipped = {p.stem for p in (ROOT / "task_specs/mixtures").glob("*.yaml")}
    table = page[page.index("## Shipped") :]
    assert set(re.findall(r"`(\w+)`", table)) == shipped


def test_training(tmp_path):
    beside(tmp_path, "train.py")
    assert all("dry run: one step" in run(command, tmp_path) for command in commands("docs/training.md"))
    page = (ROOT / "docs/training.md").read_text()
    assert set(re.findall(r"`(\w+\.yaml)`", page)) == {p.name for p in (ROOT / "configs").glob("*.yaml")}
    named = set(re.findall(r"`(?:engine|data|optim)\.(\w+)", page))
    assert named <= {key for part in (EngineConfig, DataConfig, OptimConfig) for key in part.model_fields}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@contextlib.contextmanager
def serving(command, folder):
    """A server while it runs: its address."""
    port = free_port()
    words = [sys.executable, "-m", *shlex.split(command), "--port", port]
    server = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert f"http://127.0.0.1:{port}" in server.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_serving(tmp_path):
    shutil.copy(ROOT / "docs/example/images/01.jpg", tmp_path / "room.png")
    start, *asked = commands("docs/serving.md")
    with serving(start.removesuffix(" --port 8642 &"), tmp_path) as url:
        asked = [command.replace("localhost:8642", url) for command in asked]
        words, depth, told, box, chat, health, metrics = (run(command, tmp_path) for command in asked)
    assert json.loads(words)["value"]["type"] == "text"
    assert json.loads(depth)["value"]["png"]
    assert json.loads(told)["name"] == "toybox_refer"
    assert json.loads(box)["drawn"] and json.loads(box)["value"]["type"] == "boxes"
    assert json.loads(chat)["choices"][0]["message"]["content"]
    assert json.loads(health)["status"] == "ok" and 'route="/v1/prompt",status="200"} 2.0' in metrics


def test_app(tmp_path):
    (start,) = commands("docs/app.md")
    with serving(start.removesuffix(" --port 8643"), tmp_path) as url:
        page = urllib.request.urlopen(url).read().decode()
    assert "Random toybox scene" in page and "unified: toy" in page


def test_faq(tmp_path):
    estimate, doctor = (run(command, tmp_path) for command in commands("docs/faq.md"))
    assert "zero 3" in estimate and "toy weights" in doctor


@pytest.mark.slow
def test_unified_io(tmp_path):
    """With random weights in place of the download."""
    flat = official.golden.recipe.det_params(official.shapes("small"), head_dim=64, tag="small")
    official.write_arrays(tmp_path / "small_1000k.bin", flat)
    picture = np.random.default_rng(0).integers(0, 256, (426, 640, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "room.png")
    download, *others = commands("docs/unified_io.md")
    assert download.startswith("curl ") and download.endswith("/small_1000k.bin") and len(others) == 4
    said = [run(command, tmp_path) for command in others]
    assert "official size 'small'" in said[0] and all(said)
    with Image.open(tmp_path / "box.png") as box, Image.open(tmp_path / "depth.png") as depth:
        # these weights find nothing, which the drawing says below the picture, pixel for pixel
        nothing = draw(values.Boxes(np.zeros((0, 4)), ()), values.Image(picture))
        assert (np.array(box.convert("RGB")) == nothing.pixels).all()
        assert depth.size == (640, 426) and np.array(depth).max() <= 1000
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/unified_io.md").read_text(), flags=re.S)
    lines = [f"print(type({line.split('#')[0]}))" if line.startswith("pipe(") else line
             for line in code.splitlines()]  # fmt: skip
    (tmp_path / "code.py").write_text("\n".join(lines))
    kinds = re.findall(r"types\.(\w+)'", run("python code.py", tmp_path))
    assert kinds == ["Text", "Boxes", "Keypoints", "Segmentation"]
    shutil.rmtree(tmp_path)  # pytest would keep it for three runs


def test_prompting(tmp_path):
    shutil.copy(ROOT / "docs/example/images/01.jpg", tmp_path / "room.png")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/prompting.md").read_text(), flags=re.S)
    assert len(blocks) == 4
    (tmp_path / "code.py").write_text("\n".join(blocks))
    run("python code.py", tmp_path)
    assert (tmp_path / "box.png").exists() and (tmp_path / "depth.png").exists()


@pytest.mark.slow
def test_readme(tmp_path):
    beside(tmp_path, "configs", "train.py")
    shutil.copy(ROOT / "docs/example/rows.csv", tmp_path)
    shutil.copytree(ROOT / "docs/example/images", tmp_path / "images")
    with Image.open(tmp_path / "images/01.jpg") as picture:
        picture.save(tmp_path / "room.png")
    tiny_demo(tmp_path)
    run("unified eval runs/demo --limit 4", tmp_path)
    shutil.copytree(tmp_path / "runs/demo", tmp_path / "runs/other")
    done = []
    for line in commands("README.md"):
        command = line.split("  #")[0].strip()
        if command.startswith("make "):  # they install; CI runs `make test`
            continue
        if "train.py" in command:
            command = (
                re.sub(r"^(deepspeed|torchrun)", rf"\1 --master_port {free_port()}", command) + " --dry-run"
            )
        if command in ("unified app toy", "unified serve toy"):
            with serving(command, tmp_path) as url:
                assert urllib.request.urlopen(url if "app" in command else f"{url}/docs").status == 200
        else:
            run(command, tmp_path)
        done.append(command.split()[0])
    assert {"unified", "python", "deepspeed", "torchrun"} == set(done)
    assert all((tmp_path / name).exists() for name in ("depth.png", "box.png", "my_task.yaml"))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    (tmp_path / "box.png").unlink()
    (tmp_path / "code.py").write_text(code)
    run("python code.py", tmp_path)
    assert (tmp_path / "box.png").exists()


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT) for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
    for name in re.findall(
        r"(?:configs|benchmarks|tokenizers)/[\w/]+\.(?:yaml|py)", (ROOT / page).read_text()
    ):
        assert (ROOT / name).exists(), f"{page}: {name}"


def test_docs_example_is_whole():
    rows = (ROOT / "docs/example/rows.csv").read_text().splitlines()
    assert len(rows) == 21
    assert all((ROOT / "docs/example" / row.split(",")[0]).exists() for row in rows[1:])
    assert shutil.which("unified", path=str(Path(sys.executable).parent))

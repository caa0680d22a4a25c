"""A tiny model folder, files of every brokenness, and what all refusals have in common."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from unified.cli import main

ROOT = Path(__file__).parents[2]
CARRIED = ("caption_region", "choice", "depth", "pair_statement", "paraphrase", "refer", "vqa_count")
SHAPE = {
    "d_model": 16, "num_heads": 2, "head_dim": 8, "encoder_layers": 1, "decoder_layers": 1, "d_ff": 32,
    "image_size": 32, "patch_size": 16, "target_grid": 2, "encoder_max_text_length": 64,
    "decoder_max_text_length": 16, "max_images": 2,
}  # fmt: skip
RUN = {
    "run": "runs/new",
    "tokenizer": "toy",
    "model": {"size": "toy", "overrides": SHAPE},
    "tasks": ["toybox_vqa_count"],
    "data": {"batch_size": 2, "workers": 0},
    "optim": {"lr": 1e-3, "steps": 2},
    "track": ["jsonl"],
}


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a run that has exported a tiny, randomly initialised model."""
    from unified.specs.load import load_task
    from unified.tokenization.tokenizer_set import TokenizerSet
    from unified.training import setup
    from unified.training.config import RunConfig
    from unified.training.export import export

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = RunConfig.model_validate({**RUN, "run": str(folder)})
    tokenizers = TokenizerSet.load("toy")
    model = setup.build_model(config, tokenizers)
    tasks = [load_task(f"toybox_{name}") for name in CARRIED]
    export(model.state_dict(), model, tokenizers, tasks, config, step=0, command=["train.py", "x.yaml"])
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder: a task of three CSV rows that works, and files of every brokenness."""
    from unified.specs.load import to_yaml

    shutil.copytree(ROOT / "docs/example/images", tmp_path / "images")
    rows = (ROOT / "docs/example/rows.csv").read_text().splitlines()[:4]
    Image.new("RGB", (128, 96), (200, 30, 30)).save(tmp_path / "ok.png")
    contents = {
        "rows.csv": "\n".join(rows),
        "columns.csv": "\n".join(["file,query,reply", *rows[1:]]),
        "no_images.csv": "\n".join([rows[0], *(r.replace("images/", "img/") for r in rows[1:])]),
        "broken.csv": "\n".join([rows[0], "images/corrupt.jpg,how many ?,one"]),
        "empty.csv": "",
        "empty.yaml": "",
        "list.yaml": "- a\n- b\n",
        "broken.yaml": 'a: [1, 2\nb: "x',
        "binary.yaml": b"\x93\xfa\x00\xff" * 50,
        "binary.csv": b"\x93\xfa\x00\xff" * 50,
        "corrupt.png": b"\x89PNG\r\n\x1a\n" + b"\x93\xfa\x00\xff" * 50,
        "images/corrupt.jpg": b"\x93\xfa\x00\xff" * 50,
        "cut.jpg": (ROOT / "docs/example/images/00.jpg").read_bytes()[:700],
        "run.yaml": to_yaml(RUN),
        "mixture.yaml": "mixture: mine\ntasks: [toybox_refer]\n",
    }
    for name in ("rows", "columns", "no_images", "broken", "empty", "binary", "gone"):
        contents[f"{name}_task.yaml"] = (
            f"task: {name}_task\nsource: {{type: csv, splits: {{train: {name}.csv}}}}\n"
            "fields: {image: image, question: question, answer: answer}\n"
            "input: {images: [image], prompt: ['{{ question }}']}\ntarget: {field: answer}\n"
        )
    for name, text in contents.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for name in ("folder", "folder.yaml", "folder.png"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def contents():
    """Path -> bytes of everything in a folder."""

    def contents(folder):
        return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}

    return contents


@pytest.fixture
def refused(capfd, here, contents):
    """Runs a command; what it says on stderr, after checks of what every refusal has in common."""

    def refused(*argv, run=main):
        before = contents(here)
        code = run([str(a) for a in argv])
        err = capfd.readouterr().err
        assert code == 2, err
        assert err.startswith("error: ") and err.count("error: ") == 1, err
        assert "Traceback" not in err and "pydantic" not in err, err
        assert contents(here) == before, "a refused command changes nothing"
        return err

    return refused


@pytest.fixture
def said(capfd):
    """Runs a command that works; its standard output."""

    def said(*argv):
        code = main([str(a) for a in argv])
        captured = capfd.readouterr()
        assert code == 0, captured.err
        return captured.out

    return said

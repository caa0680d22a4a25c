"""Every command given bad input answers with one clear message and exit code 2, and loses nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from unified.cli import main
from unified.specs.library import list_tasks

ROOT = Path(__file__).parent.parent
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


# ---------------------------------------------------------------------------------------- folders


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
def refused(capfd, here):
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


def contents(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def said(capfd):
    """Runs a command that works; its standard output."""

    def said(*argv):
        code = main([str(a) for a in argv])
        captured = capfd.readouterr()
        assert code == 0, captured.err
        return captured.out

    return said


# ------------------------------------------------------------------------------ tasks and mixtures

UNREADABLE = [
    ("gone.yaml", "gone.yaml: there is no such file"),
    ("empty.yaml", "empty.yaml:1: the file is empty"),
    ("list.yaml", "list.yaml:1: must be a mapping (`key: value` lines), not a list"),
    ("broken.yaml", "broken.yaml:2: not valid YAML"),
    ("binary.yaml", "binary.yaml:1: the file is not UTF-8 text"),
    ("folder.yaml", "folder.yaml: is a folder, not a file"),
]


@pytest.mark.parametrize("command", [["tasks", "show"], ["mixture", "show"]], ids=" ".join)
@pytest.mark.parametrize(("file", "message"), UNREADABLE)
def test_unreadable_yaml(refused, command, file, message):
    assert message in refused(*command, file)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("tasks show toybox_refr", "unknown task 'toybox_refr' (did you mean 'toybox_refer'?)"),
        ("tasks show vqa_count", "unknown task 'vqa_count' (did you mean 'toybox_vqa_count'?)"),
        ("tasks show vqa", "(did you mean one of coco_vqa, toybox_vqa_colour, "),
        ("tasks show zzzzzzzz", "unknown task 'zzzzzzzz'; see `unified tasks list`"),
        ("tasks show ok.png", "a file of that name is there, but specs are read from .yaml files"),
        ("tasks show mixture.yaml", "mixture.yaml: is a mixture, where a task is wanted"),
        ("tasks check gone.yaml", "gone.yaml: there is no such file"),
        ("tasks check zzzzzzzz", "unknown task 'zzzzzzzz'"),
        ("tasks check folder", "folder: the folder holds no .yaml files"),
        ("tasks list --tag groundin", "no task has the tag 'groundin' (did you mean 'grounding'?); tags: "),
        ("mixture show toybx", "unknown mixture 'toybx' (did you mean 'toybox'?)"),
        ("mixture show rows_task.yaml", "rows_task.yaml: is a task, where a mixture is wanted"),
        ("tasks new x --like vqaa", "no shipped task is named or contains 'vqaa' (did you mean 'vqa'?)"),
        ("tasks new X --like vqa", "'X' cannot name a task"),
        ("tasks new ../x --like vqa", "'../x' cannot name a task"),
        ("tasks new x --like vqa --data gone.csv", "gone.csv: there is no such file"),
        ("tasks new x --like vqa --data empty.csv", "empty.csv: holds no rows of named columns"),
        ("tasks new x --like vqa --data binary.csv", "binary.csv: is not UTF-8 text"),
        ("tasks new x --like vqa --data folder", "folder: "),
        ("tasks new x --like vqa --data ok.png", "ok.png: '.png' is not .csv, .tsv, .jsonl or .json"),
        ("tasks new x --like vqa --out x.txt", "--out x.txt: a task is a .yaml file"),
        ("tasks new x --like vqa --out gone/x.yaml", "gone/x.yaml: the folder gone is not there"),
        ("tasks new x --like vqa --out ok.png/x.yaml", "ok.png/x.yaml: a part of that path is a file"),
        ("tasks new x --like vqa --out rows_task.yaml", "exists already, and is left as it is"),
        ("tasks new x --like vqa --out folder.yaml", "exists already"),
        ("tasks new rows_task --like vqa", "rows_task.yaml: exists already"),
    ],
)
def test_tasks_and_mixtures(refused, command, message):
    assert message in refused(*command.split())


def test_check_names_every_file(here, capsys):
    """What is wrong is the answer of `tasks check`, so it stands on standard output."""
    assert main(["tasks", "check", "rows_task.yaml", *(f for f, _ in UNREADABLE[1:5])]) == 2
    out = capsys.readouterr().out
    assert all(message in out for _, message in UNREADABLE[1:5])
    assert "ok  rows_task@v1:" in out and out.endswith("4 problems in 4 files\n")


# -------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "bogus",
            "unknown command 'bogus'; there are tasks, mixture, tokenizers, eval, prompt, report, demo",
        ),
        (
            "tasks lst",
            "unknown action 'lst' (did you mean 'list'?); there are list, show, check, new, schema",
        ),
        ("tasks show", "the following arguments are required: name"),
        ("tasks new x", "the following arguments are required: --like"),
        ("tasks list --tags x", "unknown: --tags x"),
        ("tasks list more words", "unknown: more words"),
        ("eval toy --limit 0", "argument --limit: '0' is not a whole number of at least 1"),
        ("eval toy --limit -3", "argument --limit: '-3' is not"),
        ("eval toy --limit many", "argument --limit: 'many' is not"),
        ("eval toy extra=1", "unknown: extra=1"),
        ("prompt toy", "nothing to answer: give a prompt, or --task NAME"),
        ("prompt toy --task refer --set phrase", "--set phrase: write it as FIELD=VALUE"),
        ("prompt toy --task refer --set =x", "--set =x: write it as FIELD=VALUE"),
        ("prompt toy --task refer --set a=1 --set a=2", "--set a=2: 'a' is given twice"),
        ("prompt toy hello --set a=1", "--set a=1: a free prompt has no fields; name the task with --task"),
        ("prompt toy hello --task refer", "--task refer has its own prompt; leave 'hello' out"),
        ("prompt toy --task refer --target boxes", "--task refer knows its kind of answer"),
        ("prompt toy hello --out x.foo", "x.foo: cannot save to '.foo'; there are .png, "),
        ("prompt toy hello --out gone/x.png", "gone/x.png: the folder gone is not there"),
        ("prompt toy hello --out folder.png", "folder.png: is a folder, not a file"),
        ("demo --bogus", "unknown: --bogus"),
        ("demo zzz", "zzz: write a change as key=value"),
        ("demo --out folder nope=1", "override nope=1: nope: unknown key 'nope'"),
    ],
)
def test_arguments(refused, command, message):
    assert message in refused(*command.split())


def test_changes_may_stand_before_and_behind_options(refused):
    """argparse alone would not know the last word here."""
    config = ROOT / "tokenizers/toy/vqgan.yaml"
    assert "'nope=1'" in refused("tokenizers", "train-image", config, "steps=1", "--out", "x", "nope=1")


@pytest.mark.parametrize("argv", [[], ["tasks"], ["mixture"], ["tokenizers"]])
def test_without_a_command_the_help_is_shown(argv, capsys):
    assert main(argv) == 2
    out = capsys.readouterr().out
    assert out.startswith("usage: unified") and "show this help message" in out


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_stack_trace(before, capsys):
    argv = ["tasks", "show", "zzzzzzzz"]
    assert main(["--debug", *argv] if before else [*argv, "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and "unknown task 'zzzzzzzz'" in err


def test_a_bug_is_not_hidden(monkeypatch):
    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr("unified.specs.load.list_tasks", broken)
    with pytest.raises(ZeroDivisionError):
        main(["tasks", "list"])


def test_ctrl_c_is_no_stack_trace(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr("unified.specs.load.list_tasks", stopped)
    assert main(["tasks", "list"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def unified(*argv, **options):
    return subprocess.run([sys.executable, "-m", "unified", *argv], cwd=ROOT, **options)


def test_version_and_module():
    done = unified("--version", capture_output=True, text=True, check=True)
    assert done.stdout.startswith("unified")


def test_a_closed_pipe_is_no_error():
    """`unified tasks schema | head -1`"""
    read, write = os.pipe()
    os.close(read)
    done = unified("tasks", "schema", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_the_letters():
    argv = ["tasks", "check", "Größe.yaml"]
    done = unified(*argv, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2 and done.stderr == b"error: Gr\\xf6\\xdfe.yaml: there is no such file\n"


# ------------------------------------------------------------------------------------- tokenizers


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train-text gone.yaml --out x", "gone.yaml: there is no such file"),
        ("train-text broken.yaml --out x", "broken.yaml:2: not valid YAML"),
        ("train-text toybx --out x", "unknown mixture 'toybx' (did you mean 'toybox'?)"),
        ("train-text mixture.yaml --out x --rows 0", "'0' is not a whole number of at least 1"),
        ("train-text mixture.yaml --out x --rows 2 --vocab-size 9999", "text tokenizer of 9999 pieces"),
        ("train-text mixture.yaml --out x --words gone.txt", "gone.txt: the word list cannot be read"),
        ("train-text mixture.yaml --rows 9 --vocab-size 300 --out ok.png/x", "ok.png/x: a part of that path"),
        ("train-image gone.yaml --out x", "gone.yaml: there is no such file"),
        ("train-image broken.yaml --out x", "broken.yaml:2: not valid YAML"),
        ("train-image binary.yaml --out x", "binary.yaml:1: the file is not UTF-8 text"),
        ("train-image list.yaml --out x", "list.yaml:1: must be a mapping"),
        ("train-image empty.yaml --out x", "empty.yaml: no `model.params`"),
        ("train-image {vqgan} --out x stps=2", "'stps=2': no such key of `training` (did you mean 'steps'?)"),
        ("train-image {vqgan} --out x steps", "'steps': overrides are written key=value"),
        (
            "train-image {vqgan} --out x steps=-1",
            "training.steps: input should be greater than or equal to 1",
        ),
        ("train-image {vqgan} --out x steps=[1", "'steps=[1': the value is not valid YAML"),
        ("train-image {vqgan} --out x mixture=toybx", "unknown mixture 'toybx'"),
        ("train-image {vqgan} --out x size=12 crop=null", "a side of 12 pixels is no multiple of the 8"),
        ("train-image {vqgan} --out x share.mask=-1", "training.share.mask: input should be greater"),
        (
            "train-image {vqgan} --out x images=2 start_from=corrupt.png",
            "corrupt.png: cannot be read as plain",
        ),
    ],
)
def test_tokenizers(refused, command, message):
    assert message in refused("tokenizers", *command.format(vqgan=ROOT / "tokenizers/toy/vqgan.yaml").split())


# -------------------------------------------------------------------------------- models: which one


@pytest.mark.parametrize("command", ["eval", "prompt"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gone", "gone: there is no such model"),
        ("ok.png", "ok.png: there is no such model"),
        ("folder", "folder: is no model folder: it holds no config.json"),
        ("unfinished", "unfinished: is no model folder: its run has not exported a model yet"),
    ],
)
def test_no_model(refused, here, command, model, message):
    (here / "unfinished/checkpoints").mkdir(parents=True)
    assert message in refused(command, model, *(["hello"] if command == "prompt" else []))


def spoil(model, file, change):
    path = model / file
    if change is None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif isinstance(change, tuple):
        text = path.read_text()
        assert change[0] in text
        path.write_text(text.replace(*change))
    else:
        path.write_bytes(change)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", b"", "config.json: cannot be read"),
        ("config.json", b"{", "config.json: cannot be read"),
        ("config.json", b"[1]", "config.json: cannot be read"),
        ("config.json", b"\x93\xfa\x00\xff", "config.json: cannot be read"),
        ("config.json", ('"unified"', '"t5"'), "is a 't5' model, not one of unified"),
        ("config.json", ('"d_model": 16', '"d_model": -16'), "d_model is -16, must be a whole number"),
        ("config.json", ('"d_model": 16', '"d_model": "x"'), "d_model is 'x', must be a whole number"),
        ("config.json", ('"patch_size": 16', '"patch_size": 0'), "patch_size is 0, must be a whole number"),
        ("config.json", ('"d_ff": 32', '"d_ff": 64'), "weights have other shapes, the first is"),
        ("config.json", ('"encoder_layers": 1', '"encoder_layers": 2'), "weights are missing, the first is"),
        ("model.safetensors", b"", "its weights cannot be loaded"),
        ("model.safetensors", b"\x93\xfa\x00\xff" * 99, "its weights cannot be loaded"),
        ("tokenizer", None, "carries no tokenizer set"),
        ("tokenizer/tokenizer.yaml", None, "no such set"),
        ("tokenizer/tokenizer.yaml", b"a: [", "tokenizer.yaml:1: not valid YAML"),
        ("tokenizer/tokenizer.yaml", b"- a", "tokenizer.yaml:1: must be a mapping"),
        ("tokenizer/tokenizer.yaml", b"\x93\xfa", "tokenizer.yaml:1: the file is not UTF-8 text"),
        ("tokenizer/tokenizer.yaml", b"a: 1", "tokenizer.yaml: tokenizers: field required"),
        ("tokenizer/text.model", None, "text.model names text.model, which is not in"),
        ("tokenizer/text.model", b"\x93\xfa", "text.model: not a sentencepiece model"),
        ("tokenizer/vqgan.yaml", b"\x93\xfa", "vqgan.yaml:1: the file is not UTF-8 text"),
        ("tasks/index.json", b"{", "tasks: its tasks cannot be read"),
        ("tasks/index.json", b"[1]", "tasks: its tasks cannot be read"),
        ("tasks/toybox_refer.yaml", None, "tasks: its tasks cannot be read"),
        ("tasks/toybox_refer.yaml", b"a: 1", "tasks: its tasks cannot be read"),
    ],
)
def test_damaged_model_folder(run, refused, here, file, change, message):
    shutil.copytree(run / "model", here / "model")
    spoil(here / "model", file, change)
    assert message in said_by_us(refused("prompt", "model", "hello"))


def said_by_us(err):
    """Without what transformers logs of weights before."""
    return err[err.index("error: ") :]


def test_a_model_of_another_vocabulary(run, refused, here):
    shutil.copytree(run / "model", here / "model")
    shutil.rmtree(here / "model/tokenizer")
    shutil.copytree(ROOT / "tokenizers/unified_io", here / "model/tokenizer")
    for command in (["prompt", "model", "hello"], ["eval", "model", "--limit", "2"]):
        message = refused(*command)
        assert (
            "tokenizer set 'unified_io' has 33152 ids and 16384 image codes, the model 3072 and 1024"
            in message
        )
        assert "they do not belong together" in message


# ---------------------------------------------------------------------------------------- prompt


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("hello --image gone.png", "no such file: "),
        ("hello --image folder.png", "folder.png"),
        ("hello --image corrupt.png", "unreadable image corrupt.png"),
        ("hello --image cut.jpg", "unreadable image cut.jpg: image file is truncated"),
        ("hello --image rows.csv", "unreadable image rows.csv"),
        ("hello --image empty.csv", "unreadable image empty.csv"),
        ("hello --image ok.png --image ok.png --image ok.png", "3 images given; this model takes at most 2"),
        ("hello --target nonsense", "target 'nonsense': no such kind of answer; there are text, "),
        ("hello --target normals", "target 'normals': no task of this model answers so; it knows "),
        ("--task nonsense", "this model knows no task 'nonsense'"),
        ("--task toybox_refr", "this model knows no task 'toybox_refr' (did you mean 'toybox_refer'?)"),
        ("--task refer --set phrase=x", "task 'toybox_refer': missing: image (image)"),
        ("--task refer --image ok.png", "task 'toybox_refer': missing: phrase (text)"),
        ("--task refer --image ok.png --set phrse=x", "unknown field 'phrse' (did you mean 'phrase'?)"),
        ("--task refer --image ok.png --set name=x", "unknown field 'name'; it takes image, phrase"),
        ("--task refer --image ok.png --image ok.png --set phrase=x", "2 images given, it takes 1"),
        ("--task refer --image ok.png --set image=ok.png --set phrase=x", "1 images given, it takes 0"),
        ("--task pair_statement --image ok.png --set statement=x", "missing: image_2 (image)"),
        ("--task choice --image ok.png --set question=x", "missing: choices (texts)"),
        ("--task caption_region --image ok.png --set box=left", "'left' is not a place; write pixels of"),
        ("--task caption_region --image ok.png --set box=1,2,3", "'1,2,3' is not a place"),
        ("--task caption_region --image ok.png --set box=9,9,1,1", "a box ends before it begins"),
        ("--task caption_region --image ok.png --set box=nan,1,2,3", "coordinates hold NaN or infinity"),
        (
            "--task caption_region --image ok.png --set box=128,96,300,300",
            "lies outside the image of 128 x 96",
        ),
    ],
)
def test_prompt(run, refused, arguments, message):
    assert message in refused("prompt", run, *arguments.split())


def test_prompt_answers(run, said, here):
    """The same model, asked properly: the folder that `export` wrote is whole."""
    assert said("prompt", run, "How many things are there ?", "--image", "ok.png").strip()
    asked = ["--task", "refer", "--set", "image=ok.png", "--set", "phrase=x"]
    boxes = said("prompt", run, *asked, "--json", "--out", "x.png")
    assert json.loads(boxes)["task"] == "toybox_refer" and json.loads(boxes)["answer"]["type"] == "boxes"
    with Image.open("x.png") as drawn:
        assert drawn.width >= 128
    said("prompt", run, "--task", "depth", "--image", "ok.png", "--out", "depth.png")
    with Image.open("depth.png") as depth:
        assert depth.size == (128, 96)


def test_an_answer_that_cannot_be_saved_is_printed(run, here, capfd):
    """A text has no picture without an image: known only once it is there."""
    assert main(["prompt", str(run), "hello", "--out", "x.png"]) == 2
    captured = capfd.readouterr()
    assert captured.out.strip() and "a text without an image is saved as .txt or .json" in captured.err
    assert not (here / "x.png").exists()


# ------------------------------------------------------------------------------------ eval, report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tasks toybox_refr", "unknown task 'toybox_refr' (did you mean 'toybox_refer'?)"),
        ("--tasks toybox_refer,nonsense", "unknown task 'nonsense'"),
        ("--tasks tag:nonsense", "--tasks tag:nonsense: no task has that tag"),
        ("--tasks tag:", "--tasks tag:: no task has that tag"),
        ("--tasks ,", "--tasks ,: selects no task; the model carries toybox_"),
        ("--tasks gone.yaml", "gone.yaml: there is no such file"),
        ("--tasks broken.yaml", "broken.yaml:2: not valid YAML"),
        ("--tasks mixture.yaml", "mixture.yaml: is a mixture, where a task is wanted"),
        ("--tasks rows_task.yaml", "no task has a split 'validation'; there are train"),
        (
            "--tasks toybox_refer --split validatoin",
            "no task has a split 'validatoin' (did you mean 'validation'?)",
        ),
        ("--tasks rows_task.yaml --split train --out ok.png", "ok.png: a file of that name is in the way"),
        ("--tasks gone_task.yaml --split train --out x", "source.splits.train: no such file: "),
        ("--tasks empty_task.yaml --split train --out x", "empty.csv holds no rows under a header"),
        ("--tasks binary_task.yaml --split train --out x", "binary.csv is not UTF-8 CSV text"),
        (
            "--tasks columns_task.yaml --split train --out x",
            "no row of split 'train' can be used; the first: columns.csv:row 1: field 'image': no key "
            "'image' (the row has: file, query, reply)",
        ),
        ("--tasks no_images_task.yaml --split train --out x", "row 1: field 'image': no such file: "),
        ("--tasks broken_task.yaml --split train --out x", "row 1: field 'image': unreadable image"),
    ],
)
def test_eval(run, refused, here, arguments, message):
    (here / "x").mkdir()
    assert message in refused("eval", run, *arguments.split())


def test_eval_of_more_images_than_the_model_takes(run, refused, here):
    (here / "x").mkdir()
    arguments = ["--tasks", "toybox_story", "--limit", "2", "--out", "x"]
    assert "images, but the model takes at most 2 (max_images)" in refused("eval", run, *arguments)


def test_an_evaluation_that_fails_leaves_the_last_one(run, said, refused, here):
    out = said("eval", run, "--tasks", "rows_task.yaml", "--split", "train", "--out", "x")
    assert "rows_task" in out and "wrote x" in out
    assert {p.name for p in (here / "x").iterdir()} == {"results.json", "predictions.jsonl", "samples"}
    before = contents(here / "x")
    both = "rows_task.yaml,broken_task.yaml"
    assert main(["eval", str(run), "--tasks", both, "--split", "train", "--out", "x"]) == 2
    shutil.rmtree(here / "x/.new")  # what it had of the first task
    assert contents(here / "x") == before
    assert "report.html" in said("report", "x")


def test_eval_removes_nothing_of_others(run, refused, here):
    (here / "mine/samples").mkdir(parents=True)
    (here / "mine/samples/photo.txt").write_text("dear")
    arguments = ["--tasks", "rows_task.yaml", "--split", "train", "--out", "mine"]
    assert "mine: holds a 'samples' but no results.json, so it is not ours" in refused(
        "eval", run, *arguments
    )


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (None, None, "r: no such folder"),
        ("x", b"", "r: neither metrics.jsonl nor eval/*/results.json: nothing to report yet"),
        ("metrics.jsonl", b"", "nothing to report yet"),
        ("metrics.jsonl", b"\x93\xfa\x00\xff", "nothing to report yet"),
        ("results.json", b"{", "results.json: not a results file of this version"),
        ("results.json", b"[]", "results.json: not a results file of this version"),
        ("results.json", b"\x93\xfa\x00\xff", "results.json: not a results file of this version"),
        ("eval/v/results.json", b'{"about": {}, "tasks": {"t": 3}}', "not a results file of this version"),
    ],
)
def test_report(refused, here, file, content, message):
    if file is not None:
        (here / "r" / file).parent.mkdir(parents=True)
        (here / "r" / file).write_bytes(content)
    assert message in refused("report", "r")


def test_report_of_a_file_and_into_a_folder(refused, here):
    assert "rows.csv: is no folder of a run" in refused("report", "rows.csv")
    (here / "r/report.html").mkdir(parents=True)
    (here / "r/metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert "report.html: is a folder, where a file is wanted" in refused("report", "r")


# ----------------------------------------------------------------------------------------- train


@pytest.fixture
def train(monkeypatch, refused):
    """Runs train.py in this process, up to its engine; what it says when it refuses."""
    import torch

    import train
    from unified.training import launch

    class Reached(Exception):
        """The engine would be built now: nothing was refused."""

    def engine(*_):
        raise Reached

    environment = dict(os.environ)
    alone = launch.Ranks(0, 1, 0, torch.device("cpu"), None)
    monkeypatch.setattr(launch, "start", lambda: alone)
    monkeypatch.setattr("unified.training.engine.TrainEngine", engine)
    yield lambda *argv: refused(*argv, run=train.main)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gone.yaml", "gone.yaml: there is no such file"),
        ("gone", "unknown config 'gone'; there are demo, "),
        ("tyo", "unknown config 'tyo' (did you mean 'toy'?)"),
        ("empty.yaml", "empty.yaml:1: optim: a required key is missing"),
        ("list.yaml", "list.yaml:1: must be a mapping"),
        ("broken.yaml", "broken.yaml:2: not valid YAML"),
        ("binary.yaml", "binary.yaml:1: the file is not UTF-8 text"),
        ("folder.yaml", "folder.yaml: cannot be read: Is a directory"),
        ("run.yaml seed", "seed: write a change as key=value"),
        ("run.yaml sed=1", "override sed=1: sed: unknown key 'sed' (did you mean 'seed'?)"),
        ("run.yaml optim.lrate=1", "override optim.lrate=1: optim.lrate: unknown key 'lrate'"),
        ("run.yaml data=1", "override data=1: data: must be a mapping, not 1"),
        (
            "run.yaml data.batch_size=-1",
            "override data.batch_size=-1: data.batch_size: must be at least 1, not -1",
        ),
        ("run.yaml optim.lr=inf", "override optim.lr=inf: optim.lr: "),
        ("run.yaml optim.betas=[2,3]", "optim.betas[0]: must be less than 1, not 2"),
        ("run.yaml optim.lr=[1", "optim.lr=[1: the value is not valid YAML"),
        ("run.yaml seed=99999999999999999999", "override seed=99999999999999999999: seed: must be less than"),
        ("run.yaml track=[tensorbord]", "unknown tracker 'tensorbord' (did you mean 'tensorboard'?)"),
        ("run.yaml tasks=[] mixture=toybx", "unknown mixture 'toybx' (did you mean 'toybox'?)"),
        ("run.yaml tasks=[toybox_refr]", "unknown task 'toybox_refr' (did you mean 'toybox_refer'?)"),
        ("run.yaml tasks=[tag:nonsense]", "no task has the tag 'nonsense'"),
        ("run.yaml tasks=[gone.yaml]", "gone.yaml: there is no such file"),
        ("run.yaml tasks=[broken.yaml]", "broken.yaml:2: not valid YAML"),
        ("run.yaml tasks=[gone_task.yaml]", "source.splits.train: no such file: "),
        ("run.yaml tasks=[empty_task.yaml]", "empty.csv holds no rows under a header"),
        ("run.yaml tasks=[toybox_story]", "images, but the model takes at most 2 (max_images)"),
        (
            "run.yaml tasks=[rows_task.yaml] eval.at_end=true",
            "eval.split: no task has a split 'validation'; there are",
        ),
        ("run.yaml eval.at_end=true eval.split=validatoin", "'validatoin' (did you mean 'validation'?)"),
        ("run.yaml tokenizer=gone", "tokenizer set 'gone': no such set"),
        ("run.yaml tokenizer=tyo", "tokenizer set 'tyo': no such set (did you mean 'toy'?)"),
        ("run.yaml model.size=huge", "model size 'huge' is not known; there are toy, small, base, large, xl"),
        ("run.yaml model.overrides.d_modl=8", "unknown field 'd_modl' (did you mean 'd_model'?)"),
        ("run.yaml model.overrides.d_model=-3", "d_model is -3, must be a whole number of at least 1"),
        ("run.yaml model.overrides.d_model=x", "d_model is 'x', must be a whole number of at least 1"),
        ("run.yaml model.overrides.patch_size=7", "image_size 32 is not a multiple of patch_size 7"),
        ("run.yaml model.overrides.image_mean=3", "image_mean and image_std have three numbers each"),
        (
            "run.yaml model.overrides.encoder_max_text_length=9",
            "encoder_max_text_length is 9, must be a multiple",
        ),
        ("run.yaml model.overrides.d_model=99999999999", "the memory of this machine does not hold it"),
        ("run.yaml init=gone model.size=null", "gone: there is no such model"),
        ("run.yaml init=folder model.size=null", "folder: is no model folder"),
        ("run.yaml init={run} model.size=null tokenizer=unified_io", ": made with the tokenizer set "),
        ("run.yaml init={run} model.size=null model.overrides={{d_ff: 64}}", "weights have other shapes"),
        (
            "run.yaml init={run} model.size=null model.overrides={{dropout: x}}",
            "dropout is 'x', must be in [0, 1)",
        ),
        ("run.yaml run=rows.csv", "run: rows.csv: a file of that name is in the way of a folder"),
        ("run.yaml run=rows.csv/x", "run: rows.csv/x: a part of that path is a file"),
        ("run.yaml --resume gone", "--resume gone: there is no such folder"),
        ("run.yaml --resume folder", "folder: is no complete checkpoint (its file COMPLETE is missing)"),
    ],
)
def test_train(run, train, arguments, message):
    words = arguments.format(run=run).replace("model.overrides={d_ff: 64}", "model.overrides={d_ff:\t64}")
    argv = [word.replace("\t", " ") for word in words.replace("{dropout: x}", "{dropout:\tx}").split(" ")]
    assert message in said_by_us(train(*argv))


def checkpoint(run, files=(), **changes):
    """A complete checkpoint of the run in run.yaml at step 1, as its meta.json has it, with `changes`."""
    from unified.evaluation.model_folder import build_processor
    from unified.tokenization.tokenizer_set import TokenizerSet
    from unified.training import checkpoints, setup
    from unified.training.config import load_config

    config = load_config("run.yaml", [f"run={run}"])
    tokenizers = TokenizerSet.load(config.tokenizer)
    model = setup.build_model(config, tokenizers)
    build_processor(model.config, tokenizers)
    tasks = {entry.task.name: entry.task.identity for entry in setup.load_tasks(config).entries}
    meta = checkpoints.Meta.of(
        config, 1, 1.0, 1, tokenizers.hash, tasks, dict.fromkeys(tasks, 1.0), model.config.to_dict()
    )
    folder = Path(run) / checkpoints.FOLDER / checkpoints.tag_of(1)
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({**meta.__dict__, **changes}))
    for name in (*files, "COMPLETE"):
        (folder / name).write_bytes(b"\x93\xfa\x00\xff")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": "0" * 64}, "its tokenizer set is 000000000000, this run's "),
        ({"tasks": {"other": "other@v1:1"}}, "task other: was other@v1:1, is not there"),
        ({"seed": 7}, "seed was 7 and is 0"),
        ({"world": 2}, "was written with ranks = 2, this run has 1"),
        ({"step": "two"}, "meta.json: cannot be read (step: "),
        ({"model": {}}, "the model's d_model: was not there, is 16"),
    ],
)
def test_a_checkpoint_of_another_run(train, here, changes, message):
    checkpoint("runs/new", **changes)
    assert message in train("run.yaml")


@pytest.mark.parametrize("text", [b"{", b"[]", b"\x93\xfa\x00\xff", b'{"step": 1}'])
def test_a_checkpoint_with_a_broken_meta(train, here, text):
    (checkpoint("runs/new") / "meta.json").write_bytes(text)
    assert "meta.json: cannot be read" in train("run.yaml")


def test_none_never_overwrites(train, here):
    checkpoint("runs/new")
    assert "holds the checkpoints of an earlier run" in train("run.yaml", "--resume", "none")


def test_a_damaged_checkpoint_stays(here):
    """Its state is read by DeepSpeed, in a process of its own; another complete one is named."""
    folder = checkpoint("runs/new", files=["mp_rank_00_model_states.pt"])
    other = folder.with_name("step_00000000")
    shutil.copytree(folder, other)
    before = contents(here / "runs/new/checkpoints")
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "run.yaml"], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "step_00000001: its state cannot be read (" in done.stderr
    assert f"continue from another: --resume {other}" in done.stderr
    assert contents(here / "runs/new/checkpoints") == before


# ------------------------------------------------------------------------------------- what works


def test_tasks_list_shows_every_task(said):
    lines = said("tasks", "list").splitlines()
    assert lines[0].split() == ["task", "in", "->", "out", "tags"] and len(lines) == len(list_tasks()) + 1
    column = lines[0].index("in ->")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines), "aligned"
    tagged = said("tasks", "list", "--tag", "grounding").splitlines()
    assert 1 < len(tagged) < len(lines) and all("grounding" in line for line in tagged[1:])


def test_tasks_new_is_checked_and_evaluated(run, said, here):
    said("tasks", "new", "mine/count", "--like", "vqa", "--data", "rows.csv")
    assert (here / "count.yaml").is_file(), "named by the last part"
    assert "ok  mine/count@v1:" in said("tasks", "check", "count.yaml")
    assert "1 that cannot be used" not in said("eval", run, "--tasks", "count.yaml", "--split", "train")
    with (here / "rows.csv").open("a") as file:
        file.write("\nimages/corrupt.jpg,how many ?,one\n")
    out = said("eval", run, "--tasks", "count.yaml", "--split", "train", "--out", "x")
    assert "3 rows and 1 that cannot be used" in out


def test_a_spec_that_cannot_be_read_stays_in_the_listing(here, monkeypatch, capsys):
    monkeypatch.setattr(
        "unified.specs.load.list_tasks", lambda: [here / "rows_task.yaml", here / "broken.yaml"]
    )
    assert main(["tasks", "list"]) == 2
    captured = capsys.readouterr()
    assert "rows_task" in captured.out and "unreadable: " in captured.err and "broken.yaml:2" in captured.err

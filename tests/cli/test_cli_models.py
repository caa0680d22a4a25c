"""Bad input to the commands that need a model: which one, its folder, questions, evaluations, reports."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from unified.cli import main

ROOT = Path(__file__).parents[2]

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
        ("tokenizer/tokenizer.yaml", None, "holds no tokenizer.yaml. Either the folder is damaged"),
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
    assert message in refused("prompt", "model", "hello")


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


def test_tasks_without_data_are_left_out_and_listed(run, here, capfd):
    """Named they are an error, but the others are evaluated all the same."""
    tasks = "rows_task.yaml,gone_task.yaml,no_images_task.yaml,toybox_story"
    arguments = ["--tasks", tasks, "--split", "train", "--limit", "2", "--out", "x"]
    assert main(["eval", str(run), *arguments]) == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: not evaluated, as told above: gone_task, no_images_task, toybox_story;")
    assert "\n  gone_task: source.splits.train: no such file: " in out and "wrote x" in out
    found = json.loads((here / "x/results.json").read_text())
    assert list(found["tasks"]) == ["rows_task"]
    why = found["about"]["not_evaluated"]
    assert "takes at most 2 (max_images)" in why["toybox_story"]
    assert "row 1: field 'image': no such file: " in why["no_images_task"]
    assert main(["report", "x"]) == 0 and "gone_task" in (here / "x/report.html").read_text()


def test_a_tag_means_what_is_here(run, said, here, monkeypatch):
    from unified.evaluation import evaluator
    from unified.specs.load import load_task

    found = {name: load_task(here / f"{name}.yaml") for name in ("gone_task", "rows_task")}
    monkeypatch.setattr(evaluator, "_tagged", lambda tag, carried: found)
    out = said("eval", run, "--tasks", "tag:mine", "--split", "train", "--limit", "2", "--out", "x")
    assert "gone_task: not evaluated: source.splits.train: no such file: " in out and "rows_task" in out


def test_nothing_has_data(run, refused, here):
    message = refused("eval", run, "--split", "train", "--tasks", "gone_task.yaml,no_images_task.yaml")
    assert "nothing that can be evaluated here:\n  gone_task: source.splits.train: no such file: " in message
    assert "\n  no_images_task: " in message and "`unified tasks show NAME`" in message


def test_an_evaluation_that_fails_leaves_the_last_one(run, said, contents, here):
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

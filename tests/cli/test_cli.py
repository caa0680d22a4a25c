"""Bad input on the command line: one clear message, exit code 2, nothing lost. Here the commands without a
model; those with one and training have files of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unified.cli import main
from unified.specs.library import list_tasks

ROOT = Path(__file__).parents[2]

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
        ("tasks show vqa", "sample_coco_vqa, toybox_vqa_colour, "),
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
            "unknown command 'bogus'; there are tasks, mixture, checkpoint, cache, tokenizers, eval, ",
        ),
        (
            "tasks lst",
            "unknown action 'lst' (did you mean 'list'?); there are list, docs, show, check, preview, new, ",
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


# ------------------------------------------------------------------------------------- what works


def test_tasks_list_shows_every_task_by_family(said):
    lines = said("tasks", "list").splitlines()
    assert lines[0].split() == ["task", "in", "->", "out", "metric", "data"]
    families = [line for line in lines[1:] if not line.startswith("  ")]
    assert "toybox (56)" in families and families == sorted(families)
    tasks = [line for line in lines[1:] if line.startswith("  ")]
    assert len(tasks) == len(list_tasks())
    column = lines[0].index("in ->")
    assert all(line[column - 1] == " " and line[column] != " " for line in tasks), "aligned"
    refer = next(line for line in tasks if line.split()[0] == "toybox_refer")
    assert refer.split() == ["toybox_refer", "image+text", "->", "boxes", "box_accuracy", "built", "in"]
    tagged = [line.split()[0] for line in said("tasks", "list", "--tag", "unified_io").splitlines()[2:]]
    assert len(tagged) == 29 and all(name.startswith("unified_io_") for name in tagged)


def test_tasks_new_is_checked_and_evaluated(run, said, here):
    said("tasks", "new", "mine/count", "--like", "vqa", "--data", "rows.csv")
    assert (here / "count.yaml").is_file(), "named by the last part"
    assert "ok  mine/count@v1:" in said("tasks", "check", "count.yaml")
    assert "1 that cannot be used" not in said("eval", run, "--tasks", "count.yaml", "--split", "train")
    with (here / "rows.csv").open("a") as file:
        file.write("\nimages/corrupt.jpg,how many ?,one\n")
    out = said("eval", run, "--tasks", "count.yaml", "--split", "train", "--out", "x")
    assert "3 rows and 1 that cannot be used" in out


def test_eval_writes_a_submission(run, said, refused, here):
    text = (here / "rows_task.yaml").read_text()
    (here / "rows_task.yaml").write_text(
        text + 'submission: {file: "mine_{split}.json", row: {a: $answer}}\n'
    )
    out = said("eval", run, "--tasks", "rows_task.yaml", "--split", "train", "--submission", "sub")
    assert "rows_task: wrote sub/mine_train.json" in out
    rows = json.loads((here / "sub/mine_train.json").read_text())
    assert rows and all(row.keys() == {"a"} for row in rows)
    message = refused("eval", run, "--tasks", "toybox_vqa_count", "--limit", "2", "--submission", "sub")
    assert "--submission: none of these tasks states a `submission`: toybox_vqa_count" in message


def test_tasks_docs_is_the_page(said):
    assert said("tasks", "docs") == (ROOT / "docs/tasks.md").read_text()


def test_a_spec_that_cannot_be_read_stays_in_the_listing(here, monkeypatch, capsys):
    monkeypatch.setattr(
        "unified.specs.load.list_tasks", lambda: [here / "rows_task.yaml", here / "broken.yaml"]
    )
    assert main(["tasks", "list"]) == 2
    captured = capsys.readouterr()
    assert "rows_task" in captured.out and "unreadable: " in captured.err and "broken.yaml:2" in captured.err

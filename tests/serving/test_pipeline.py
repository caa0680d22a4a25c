"""`unified.pipeline`: prompts and tasks to typed answers."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

import unified
from unified.errors import UserError
from unified.evaluation.plain import type_name
from unified.values.types import Boxes, Depth, Size

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
QUESTIONS = {
    "caption": {},
    "choice": {"question": "which ?", "choices": "red cube|blue cone"},
    "classify_shape": {},
    "depth": {},
    "detect": {},
    "edit": {"instruction": "make it blue"},
    "grounded_caption": {},
    "keypoints": {},
    "mood": {},
    "normals": {},
    "point": {"phrase": "the cone"},
    "refer": {"phrase": "the cone"},
    "refer_mask": {"phrase": "the cone"},
    "segmentation_shape": {},
    "vqa_count": {"question": "how many cubes ?"},
}


@pytest.fixture(scope="module")
def pipe(run):
    return unified.pipeline(run, "cpu")


def test_a_second_decoder_only_where_there_is_room_for_it(pipe, run, monkeypatch):
    assert hasattr(pipe.model.decoder.layers[0].mlp.wo, "repacked")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    assert not hasattr(unified.pipeline(run, "cpu").model.decoder.layers[0].mlp.wo, "repacked")


def test_importing_unified_imports_no_torch():
    code = "import sys, unified; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_task_answers_in_its_kind_and_frame(pipe, tmp_path):
    assert {f"toybox_{name}" for name in QUESTIONS} <= set(pipe.tasks)
    for name, fields in QUESTIONS.items():
        result = pipe(name, image=PHOTO, **fields)
        task = pipe.tasks[f"toybox_{name}"]
        assert result.task == task.name and type_name(result.value) == task.spec.modality, name
        if hasattr(result.value, "size") and not isinstance(result.value, Boxes):
            assert result.value.size == Size(64, 48), name
        assert result.save(tmp_path / f"{name}.png").is_file()


def test_options_and_several_images(pipe):
    assert pipe("choice", image=PHOTO, question="which ?", choices="red cube|blue cone").text in (
        "red cube", "blue cone",
    )  # fmt: skip
    result = pipe.task("pair_statement", image=[PHOTO, PHOTO[::-1]], statement="both show a cube")
    assert result.text in ("true", "false") and len(result.images) == 2
    assert pipe("paraphrase", first="a cube", second="a cone").text in ("yes", "no")


def test_free_prompts(pipe, tmp_path):
    path = tmp_path / "room.png"
    PIL.Image.fromarray(PHOTO).save(path)
    depth = pipe("What is the depth map of the image ?", image=path)
    assert depth.task == "toybox_depth" and isinstance(depth.value, Depth)
    np.testing.assert_array_equal(depth.value.metres, pipe("depth", image=PHOTO).value.metres)
    refer = pipe('Which region does the text "red cube" describe ?', image=PIL.Image.open(path))
    assert refer.task == "toybox_refer" and refer.prompt == 'Which region does the text "red cube" describe ?'
    free = pipe("tell me a secret")
    assert free.task is None and type_name(free.value) == "text" and free.images == ()
    assert isinstance(pipe("where is anything ?", image=path, target="boxes").value, Boxes)


def test_the_same_answer_every_time(pipe, run):
    fresh = unified.pipeline(str(run / "model"), "cpu")
    for name in ("caption", "refer", "normals"):
        a, b = (p(name, image=PHOTO, **QUESTIONS[name]) for p in (pipe, fresh))
        assert a.to_dict() == b.to_dict()


def test_mistakes_are_one_message(pipe, run, tmp_path):
    with pytest.raises(UserError, match=r"missing: phrase \(text\)"):
        pipe("refer", image=PHOTO)
    with pytest.raises(UserError, match="no task 'refr' .*|knows no task 'refr'"):
        pipe.task("refr", image=PHOTO)
    with pytest.raises(UserError, match="is no task of this model, so there are no fields"):
        pipe("refr", image=PHOTO, phrase="x")
    with pytest.raises(UserError, match="which knows its kind of answer"):
        pipe("depth", image=PHOTO, target="boxes")
    with pytest.raises(UserError, match="at most 4"):
        pipe("what ?", image=[PHOTO] * 5)
    (tmp_path / "x.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match="image:"):
        pipe("depth", image=tmp_path / "x.png")
    with pytest.raises(UserError, match="there is no such model"):
        unified.pipeline("absent")


def test_random_weights_warn_at_every_answer(run, tmp_path, caplog):
    import shutil

    folder = tmp_path / "m"
    shutil.copytree(run / "model", folder)
    (folder / "model.safetensors").unlink()
    pipe = unified.pipeline(folder, "cpu")
    caplog.clear()
    pipe("hello")
    assert "RANDOMLY INITIALISED" in caplog.text


def test_command_line(run, tmp_path, capsys):
    from unified.cli import main

    path, out = tmp_path / "room.png", tmp_path / "depth.png"
    PIL.Image.fromarray(PHOTO).save(path)
    ask = [
        "prompt",
        str(run),
        "What is the depth map of the image ?",
        "--image",
        str(path),
        "--out",
        str(out),
    ]
    assert main(ask) == 0
    assert np.array(PIL.Image.open(out)).dtype in (np.uint16, np.int32)
    assert (
        main(["prompt", str(run), "--task", "refer", "--set", "phrase=cube", "--image", str(path), "--json"])
        == 0
    )
    assert '"type": "boxes"' in capsys.readouterr().out
    assert main(["prompt", str(run), "--task", "refer", "--image", str(path)]) == 2
    assert "missing: phrase" in capsys.readouterr().err


def test_questions_of_several_tasks_share_batches_and_change_no_answer(pipe, monkeypatch):
    asked = [
        pipe.question("vqa_count", PHOTO, question="how many cubes ?"),
        pipe.question("depth", PHOTO),
        pipe.question("caption", PHOTO),
        pipe.question("classify_shape", PHOTO),
        pipe.question("what is this ?", PHOTO),
        pipe.question("normals", PHOTO),
    ]
    alone = [pipe.answer([question])[0] for question in asked]
    batches = []
    generate = type(pipe.model).generate
    monkeypatch.setattr(type(pipe.model), "generate", lambda *a, **k: batches.append(0) or generate(*a, **k))
    together = pipe.answer(asked)
    assert len(batches) == 2  # what is written, what is painted
    for one, other in zip(alone, together, strict=True):
        assert (one.ids, one.codes, one.task) == (other.ids, other.codes, other.task)
        assert one.score == pytest.approx(other.score, abs=1e-3)
    assert pipe.way(asked[0]) == pipe.way(asked[2]) != pipe.way(asked[1])

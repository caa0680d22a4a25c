"""Grids of samples: what is drawn, and that training does not notice."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from processes import ROOT, run

from unified.errors import UserError
from unified.evaluation.cases import read_cases
from unified.evaluation.model_folder import build_processor
from unified.specs.load import load_task, to_yaml
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.training import setup
from unified.training.config import RunConfig
from unified.training.loop import TIMES
from unified.training.samples import SampleGrids, sampled_tasks, task_grid
from unified.values.types import Text

TASKS = ("toybox_vqa_count", "toybox_refer", "toybox_depth", "toybox_paraphrase", "toybox_pair_statement")


def config_of(run_config, folder, **samples):
    samples = {"every_steps": 2, "per_task": 2, **samples}
    return RunConfig.model_validate(
        {**run_config, "run": str(folder), "tasks": list(TASKS), "samples": samples}
    )


@pytest.fixture(scope="module")
def drawn(run_config, tmp_path_factory):
    """Of one process: the grids of two steps with random weights, and the folder that they are in."""
    folder = tmp_path_factory.mktemp("samples") / "x"
    config = config_of(run_config, folder)
    tokenizers = TokenizerSet.load(config.tokenizer)
    shape = setup.model_shape(config, tokenizers)
    shape.max_images = 2
    torch.manual_seed(0)
    model = setup.UnifiedModel(shape)
    ranks = SimpleNamespace(main=True, device=torch.device("cpu"))
    (folder / "samples" / "step_00000009").mkdir(parents=True)
    (folder / "samples" / "step_00000001").mkdir(parents=True)
    processor = build_processor(shape, tokenizers)
    grids = SampleGrids(config, [load_task(t) for t in TASKS], processor, shape, ranks, 1)
    left = sorted(path.name for path in (folder / "samples").iterdir())
    before = torch.get_rng_state()
    found = [grids.draw(model.state_dict(), step) for step in (2, 4)]
    assert torch.equal(before, torch.get_rng_state())
    return folder, found, left


def test_a_picture_a_task_and_step(drawn):
    folder, found, _ = drawn
    for step, images in zip((2, 4), found, strict=True):
        assert set(images) == set(TASKS)
        files = {path.stem: path for path in (folder / f"samples/step_{step:08d}").iterdir()}
        assert set(files) == set(TASKS)
        for name, image in images.items():
            assert np.array_equal(np.asarray(Pillow.open(files[name])), image.pixels)


def test_the_same_weights_answer_the_same_examples_alike(drawn):
    _, (first, second), _ = drawn
    for name in TASKS:  # below the line that names the step
        assert np.array_equal(first[name].pixels[40:], second[name].pixels[40:]), name


def test_grids_of_steps_that_are_made_anew_go(drawn):
    assert drawn[2] == ["step_00000001"]


def test_a_row_of_a_grid_shows_input_target_and_prediction(run_config):
    task = load_task("toybox_vqa_count")
    cases = read_cases(task, "validation", limit=2, seed=0, image_size=32, target_size=32).cases
    right, wrong = (
        task_grid(task, cases, answers, 7).pixels
        for answers in ([case.target for case in cases], [Text("no idea at all")] * 2)
    )
    assert wrong.shape == right.shape and right.shape[0] > 2 * 320
    changed = np.flatnonzero((right != wrong).any((0, 2)))  # columns of pixels
    assert len(changed) and changed.min() > 320 + 200


def test_which_tasks(run_config, tmp_path):
    tasks = [load_task(name) for name in TASKS]
    names = [t.name for t in sampled_tasks(config_of(run_config, tmp_path), tasks)]
    assert names == list(TASKS)
    chosen = config_of(run_config, tmp_path, tasks=["toybox_depth"])
    assert [t.name for t in sampled_tasks(chosen, tasks)] == ["toybox_depth"]
    assert sampled_tasks(config_of(run_config, tmp_path, every_steps=None), tasks) == []
    with pytest.raises(
        UserError, match=r"the run has no task 'toybox_dept' \(did you mean 'toybox_depth'\?\)"
    ):
        sampled_tasks(config_of(run_config, tmp_path, tasks=["toybox_dept"]), tasks)
    other = config_of(run_config, tmp_path).model_copy(
        update={"eval": RunConfig.model_fields["eval"].default.model_copy(update={"split": "test"})}
    )
    with pytest.raises(UserError, match="no split 'test' "):
        sampled_tasks(other, tasks)


def curve(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("zero", [0, 2, 3])
def test_training_does_not_notice(run_config, tmp_path, zero):
    """Two ranks: the same losses and weights with samples and without, and a report at the end of both."""
    (tmp_path / "x.yaml").write_text(to_yaml(run_config))
    common = ["optim.steps=4", "checkpoint.every_steps=null", f"engine.zero={zero}"]
    for name, more in (
        ("without", []),
        ("with", ["samples={every_steps: 2, per_task: 1}", "track=[jsonl, tensorboard]"]),
    ):
        results = run(2, ROOT / "train.py", "x.yaml", f"run={name}", *common, *more, cwd=tmp_path)
        assert [code for code, *_ in results] == [0, 0], [err[-2000:] for *_, err in results]
    plain, sampled = tmp_path / "without", tmp_path / "with"
    assert curve(plain) == curve(sampled) and len(curve(plain)) == 4
    weights = "model/model.safetensors"
    assert (plain / weights).read_bytes() == (sampled / weights).read_bytes()
    assert not (plain / "samples").exists() and (plain / "report.html").exists()
    files = {str(path.relative_to(sampled / "samples")) for path in sampled.glob("samples/*/*.png")}
    assert files == {f"step_{s:08d}/{task}.png" for s in (2, 4) for task in run_config["tasks"]}
    assert "The same examples over training" in (sampled / "report.html").read_text()

"""From a model folder to numbers: every kind of answer through tokenizers, model, grammar and metrics."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from unified.errors import UserError
from unified.evaluation import task_result
from unified.evaluation.cases import read_cases
from unified.evaluation.evaluator import evaluate, run_eval, select_tasks
from unified.evaluation.model_folder import find_model_folder, load_model_folder
from unified.evaluation.predictor import Predictor, through_tokenizers
from unified.evaluation.results import Results
from unified.specs.load import LoadedTask
from unified.values.types import Boxes, Text

ROWS = 6


@pytest.fixture(scope="module")
def loaded(run):
    return load_model_folder(run, "cpu")


@pytest.fixture(scope="module")
def results(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("eval")
    patch = pytest.MonkeyPatch()
    patch.setattr(task_result, "BASELINE_ROWS", 24)
    try:
        return run_eval(run, limit=ROWS, out=out, device="cpu"), out
    finally:
        patch.undo()


def cases(loaded, name, n=ROWS):
    sizes = {"image_size": loaded.processor.image_size, "target_size": loaded.processor.target_size}
    return read_cases(loaded.tasks[name], "validation", limit=n, seed=0, **sizes).cases


def examples(loaded, name, n=ROWS):
    return [case.example for case in cases(loaded, name, n)]


def changed(task, **update):
    return LoadedTask.of(task.spec.model_copy(update=update), task.path)


# ------------------------------------------------------------------------------- whole evaluation


def test_every_kind_of_answer_has_numbers_baseline_and_ceiling(results, loaded):
    found, _ = results
    assert list(found.tasks) == list(loaded.tasks)
    for name, task in found.tasks.items():
        assert task.n == ROWS and task.skipped == 0
        assert task.identity == loaded.tasks[name].identity
        assert task.headline == next(iter(task.metrics))
        assert task.metrics.keys() == task.baseline.keys() == task.ceiling.keys()
        assert task.baseline_answer and len(task.samples) == 4


def test_ceilings(results):
    """What the tokenizers keep: words and options whole, places within half a bin."""
    found, _ = results
    for name in ("choice", "classify_shape", "pair_statement", "paraphrase", "vqa_count", "refer", "point"):
        task = found.tasks[f"toybox_{name}"]
        assert task.ceiling[task.headline] == pytest.approx(1.0), name
    assert found.tasks["toybox_refer"].ceiling["box_iou"] > 0.98
    assert found.tasks["toybox_mood"].ceiling["mae"] == pytest.approx(0.0, abs=0.051)
    assert found.tasks["toybox_keypoints"].ceiling["oks"] > 0.95
    assert found.tasks["toybox_detect"].ceiling["coco_ap"] > 0.95


def test_image_tasks_say_what_copying_the_input_gives(results):
    found, _ = results
    assert found.tasks["toybox_edit"].copy_input["psnr"] > 10
    assert found.tasks["toybox_depth"].copy_input is None


def test_files(results):
    found, out = results
    assert Results.load(out) == found
    assert found.about["split"] == "validation"
    assert torch.__version__.startswith(found.about["versions"]["torch"])
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == ROWS * len(found.tasks)
    for name, task in found.tasks.items():
        mine = [row for row in rows if row["task"] == name]
        each = [row["scores"].get(task.headline) for row in mine]
        if task.headline in ("accuracy", "box_accuracy", "depth_rmse", "psnr", "mae"):
            assert np.mean(each) == pytest.approx(task.metrics[task.headline])
        assert all(row["prompt"] and row["key"] and row["prediction"]["type"] for row in mine)
        for sample in (*task.samples, *task.worst):
            files = [*sample["inputs"], sample["reference_image"], sample["prediction_image"]]
            assert all((out / f).is_file() for f in files if f)
    refer = next(row for row in rows if row["task"] == "toybox_refer")
    assert refer["reference"]["type"] == "boxes"


def test_the_worst_rows_come_first(results):
    found, out = results
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    for name in ("toybox_refer", "toybox_depth", "toybox_edit"):
        task = found.tasks[name]
        sign = -1 if task.headline == "depth_rmse" else 1
        each = sorted(sign * row["scores"][task.worst_by] for row in rows if row["task"] == name)
        assert [sign * sample["score"] for sample in task.worst] == each[:4]
    assert found.tasks["toybox_detect"].worst_by is None  # AP has no score of a row
    assert found.tasks["toybox_detect"].worst == []


def test_confusion_counts_every_row_of_a_closed_set(results):
    found, out = results
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["task"] == "toybox_classify_shape"]
    table = found.tasks["toybox_classify_shape"].confusion
    for i, true in enumerate(table["labels"]):
        for j, given in enumerate(table["labels"]):
            pairs = [r for r in mine if (r["reference"]["label"], r["prediction"]["label"]) == (true, given)]
            assert table["counts"][i][j] == len(pairs)
    assert found.tasks["toybox_caption"].confusion is None and found.tasks["toybox_choice"].confusion is None


def test_what_a_whole_set_metric_was_given_is_kept(results):
    _, out = results
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    given = {row["task"] for row in rows if "given" in row}
    assert "toybox_detect" in given and "toybox_refer" not in given
    detect = next(row for row in rows if row["task"] == "toybox_detect")
    assert detect["given"]["reference"] == detect["reference"]


def test_closed_answers_are_among_the_options(results):
    _, out = results
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    shapes = {row["prediction"]["label"] for row in rows if row["task"] == "toybox_classify_shape"}
    assert shapes <= {"cube", "sphere", "cylinder", "cone"}
    for row in rows:
        if row["task"] == "toybox_choice":
            assert row["prediction"]["text"] in row["prompt"]


def test_another_split_and_progress(loaded):
    told = []
    tasks = [loaded.tasks["toybox_vqa_count"]]
    found = evaluate(
        loaded.model, loaded.processor, tasks, split="held_out", limit=5, batch_size=2,
        on_progress=lambda *args: told.append(args),
    )  # fmt: skip
    assert found.about["split"] == "held_out" and found.tasks["toybox_vqa_count"].n == 5
    assert told == [("toybox_vqa_count", n, 5) for n in (2, 4, 5)]
    with pytest.raises(UserError, match="no task has a split 'validatoin' .*did you mean 'validation'"):
        evaluate(loaded.model, loaded.processor, tasks, split="validatoin")


def test_rows_to_train_on_are_not_needed(run, tmp_path):
    """Whoever has a benchmark's validation split alone is told its score, without a trivial predictor's."""
    (tmp_path / "rows.jsonl").write_text('{"text": "two", "answer": "2"}\n' * 3)
    (tmp_path / "mine.yaml").write_text(
        "task: mine\nsource: {type: jsonl, splits: {train: gone.jsonl, validation: rows.jsonl}}\n"
        "fields: {text: text, answer: answer}\ninput: {prompt: '{{ text }} ?'}\ntarget: {field: answer}\n"
    )
    found = run_eval(run, str(tmp_path / "mine.yaml"), out=tmp_path / "out", device="cpu").tasks["mine"]
    assert found.n == 3 and found.baseline is None
    assert found.notes["baseline"].startswith("none, without rows to train on: source.splits.train: no such")


def test_a_perfect_model_scores_one(loaded, monkeypatch):
    """Answers that equal the truth score the metric's best, whatever baseline and ceiling are."""
    monkeypatch.setattr(task_result, "BASELINE_ROWS", 24)
    task = loaded.tasks["toybox_vqa_count"]
    truth = [case.target for case in cases(loaded, "toybox_vqa_count")]

    def predict(self, task, examples, **_):
        from unified.evaluation.predictor import Prediction

        return [Prediction(t) for t in truth]

    monkeypatch.setattr(Predictor, "predict", predict)
    result = evaluate(loaded.model, loaded.processor, [task], limit=ROWS).tasks[task.name]
    assert result.metrics["accuracy"] == 1.0 and result.better_than_baseline


# -------------------------------------------------------------------------------------- predictor


@pytest.mark.parametrize("name", ["toybox_choice", "toybox_refer", "toybox_edit", "toybox_caption"])
def test_batches_do_not_change_answers(loaded, name):
    asked, task = examples(loaded, name), loaded.tasks[name]
    together = Predictor(loaded.model, loaded.processor, batch_size=ROWS).predict(task, asked)
    alone = Predictor(loaded.model, loaded.processor, batch_size=1).predict(task, asked)
    assert [p.ids for p in together] == [p.ids for p in alone]
    if name == "toybox_edit":
        for a, b in zip(together, alone, strict=True):
            assert np.abs(a.value.pixels.astype(int) - b.value.pixels).max() <= 1


def test_the_true_answer_is_not_looked_at(loaded):
    asked, task = examples(loaded, "toybox_vqa_count"), loaded.tasks["toybox_vqa_count"]
    predictor = Predictor(loaded.model, loaded.processor)
    lied = [replace(example, target=("9",)) for example in asked]
    assert predictor.predict(task, asked) == predictor.predict(task, lied)


def test_ranking_equals_the_models_own_scores(loaded):
    spec = loaded.tasks["toybox_choice"].spec
    task = changed(loaded.tasks["toybox_choice"], options=spec.options.model_copy(update={"decode": "rank"}))
    asked = examples(loaded, "toybox_choice", 3)
    asked[1] = replace(asked[1], options=asked[1].options[:2])  # a row with fewer options
    predictions = Predictor(loaded.model, loaded.processor).predict(task, asked)
    text, eos = loaded.processor.tokenizers.text, 1
    for example, prediction in zip(asked, predictions, strict=True):
        encoded = loaded.processor.encode(replace(example, target=()), task)
        scores = {}
        for option in example.options:
            target = torch.tensor([[*text.encode(option), eos]])
            with torch.no_grad():
                logits = loaded.model(
                    input_ids=torch.tensor(encoded.input_ids)[None],
                    images=torch.tensor(encoded.images)[None],
                    patch_mask=torch.tensor(encoded.patch_mask)[None],
                    target_ids=target,
                ).text_logits
            scores[option] = float(logits.log_softmax(-1).gather(1, target.T).sum())
        assert prediction.value.text == max(scores, key=scores.get)
        assert prediction.score == pytest.approx(max(scores.values()), abs=1e-3)


def test_beams_and_sampling(loaded):
    task, asked = loaded.tasks["toybox_refer"], examples(loaded, "toybox_refer", 3)
    predictor = Predictor(loaded.model, loaded.processor)
    generation = task.spec.generation
    beams = changed(task, generation=generation.model_copy(update={"num_beams": 3}))
    assert all(isinstance(p.value, Boxes) for p in predictor.predict(beams, asked))
    assert all(len(p.ids) == 4 and not p.malformed for p in predictor.predict(beams, asked))
    sampled = changed(task, generation=generation.model_copy(update={"do_sample": True}))
    first, again = (predictor.predict(sampled, asked, seed=3) for _ in range(2))
    other = predictor.predict(sampled, asked, seed=4)
    assert [p.ids for p in first] == [p.ids for p in again] != [p.ids for p in other]


def test_guided_images(loaded):
    task, asked = loaded.tasks["toybox_edit"], examples(loaded, "toybox_edit", 2)
    guided = changed(task, generation=task.spec.generation.model_copy(update={"guidance_scale": 3.0}))
    predictor = Predictor(loaded.model, loaded.processor)
    assert all(p.value.size == asked[0].images[0].size for p in predictor.predict(guided, asked))


def test_ceiling_is_that_of_the_image_tokenizer(loaded):
    task, asked = loaded.tasks["toybox_refer_mask"], examples(loaded, "toybox_refer_mask", 3)
    one_by_one = [
        through_tokenizers(loaded.processor, task, [e], device="cpu", batch_size=1)[0] for e in asked
    ]
    batched = through_tokenizers(loaded.processor, task, asked, device="cpu", batch_size=2)
    for a, b in zip(one_by_one, batched, strict=True):
        assert a.size == asked[0].images[0].size
        assert np.mean(a.array != b.array) < 0.01


def test_answers_longer_than_the_model_writes_are_cut_in_the_ceiling(loaded):
    task = loaded.tasks["toybox_caption"]
    short = changed(task, target=task.spec.target.model_copy(update={"max_tokens": 4}))
    (value,) = through_tokenizers(
        loaded.processor, short, examples(loaded, "toybox_caption", 1), device="cpu"
    )
    whole = cases(loaded, "toybox_caption", 1)[0].target.items[0]
    assert isinstance(value, Text) and value.text and whole.startswith(value.text) and value.text != whole


def test_images_as_codes(loaded, tiny_tokenizers):
    """A model whose inputs are VQGAN codes is given those of the images."""
    from tiny_model import tiny_config

    from unified.evaluation.model_folder import build_processor
    from unified.model import UnifiedModel

    torch.manual_seed(0)
    model = UnifiedModel(tiny_config(image_input="codes", patch_size=4)).eval()
    processor = build_processor(model.config, tiny_tokenizers)
    asked = examples(loaded, "toybox_pair_statement", 3)
    predictions = Predictor(model, processor).predict(loaded.tasks["toybox_pair_statement"], asked)
    assert {p.value.text for p in predictions} <= {"true", "false"}


# ----------------------------------------------------------------------------------- model folders


def test_a_run_its_model_and_a_copy_are_found(run, tmp_path):
    assert find_model_folder(run) == find_model_folder(str(run / "model")) == run / "model"
    with pytest.raises(UserError, match="there is no such model"):
        find_model_folder("not-there")
    with pytest.raises(UserError, match=r"holds no config.json, nor a model/ with one"):
        find_model_folder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="has not exported a model yet"):
        find_model_folder(tmp_path)


def copy(run, to):
    import shutil

    shutil.copytree(run / "model", to)
    return to


def test_folder_without_weights_warns_loudly(run, tmp_path, caplog):
    folder = copy(run, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    loaded = load_model_folder(folder, "cpu")
    assert not loaded.trained and "RANDOMLY INITIALISED" in caplog.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "config.json: cannot be read"),
        ("config.json", '{"model_type": "t5"}', "not one of unified"),
        ("model.safetensors", "junk", "its weights cannot be loaded"),
        ("tasks/index.json", "{", "its tasks cannot be read"),
        ("tasks/toybox_refer.yaml", "task: [", "its tasks cannot be read"),
    ],
)
def test_broken_folders(run, tmp_path, file, content, message):
    folder = copy(run, tmp_path / "m")
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=message):
        load_model_folder(folder, "cpu")


def test_folder_without_a_tokenizer_set(run, tmp_path):
    import shutil

    folder = copy(run, tmp_path / "m")
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(UserError, match="carries no tokenizer set"):
        load_model_folder(folder, "cpu")


def test_a_foreign_tokenizer_set(tiny_tokenizers):
    from tiny_model import tiny_config

    from unified.evaluation.model_folder import build_processor

    with pytest.raises(UserError, match="do not belong together"):
        build_processor(tiny_config(image_vocab_size=32), tiny_tokenizers)


def test_unusable_device(run):
    with pytest.raises(UserError, match="device 'nonsense' cannot be used"):
        load_model_folder(run, "nonsense")


def test_selecting_tasks(loaded):
    carried = loaded.tasks
    names = [t.name for t in select_tasks("toybox_refer, toybox_depth,toybox_refer", carried)]
    assert names == ["toybox_refer", "toybox_depth"]
    assert [t.name for t in select_tasks("all", carried)] == list(carried)
    assert "toybox_refer" in [t.name for t in select_tasks("tag:grounding", carried)]
    assert select_tasks("toybox_vqa_colour", carried)[0].name == "toybox_vqa_colour"  # shipped, not carried
    with pytest.raises(UserError, match="did you mean 'grounding'"):
        select_tasks("tag:groundin", carried)
    with pytest.raises(UserError, match="selects no task"):
        select_tasks(" ,", carried)

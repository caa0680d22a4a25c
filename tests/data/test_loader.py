"""Global batches are the same for any ranks, workers and micro-batches; bad rows are replaced and told."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from unified.data.collate import collate
from unified.data.dataset import MixtureDataset, SkipLog, TaskData, open_tasks
from unified.data.loader import StepLoader
from unified.data.mixture import rates
from unified.data.order import MixtureOrder
from unified.data.streaming import StreamedRows
from unified.errors import UserError
from unified.sources.base import RowSource, RowStream
from unified.sources.open import open_source
from unified.specs.load import load_mixture, load_task
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet

MIXTURE = """
mixture: small
tasks:
  - {task: toybox_vqa_count, share: 0.5}
  - {task: toybox_depth, weight: 2}
  - toybox_paraphrase
  - toybox_pair_statement
"""


@pytest.fixture(scope="module")
def processor():
    tokenizers = TokenizerSet.load("unified_io", image_weights=False)
    return Processor(
        tokenizers, image_size=64, patch_size=8, target_size=64, max_input_length=128, max_target_length=64
    )


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    path = tmp_path_factory.mktemp("specs") / "small.yaml"
    path.write_text(MIXTURE)
    return load_mixture(path)


@pytest.fixture(scope="module")
def dataset(mixture, processor):
    tasks = open_tasks(mixture, "train")
    rows = {d.task.name: len(d.source) for d in tasks}
    shares = rates(mixture, rows)
    order = MixtureOrder(3, [(name, rows[name], shares[name]) for name in rows])
    return MixtureDataset(tasks, order, processor)


def loaded(dataset, world=1, workers=0, micro_batch=2, start_step=0, steps=3, batch_size=16):
    """step -> {key: (task, unpadded ids and a sum over the pixels) of each example}, over all ranks."""
    out = {}
    for rank in range(world):
        loader = StepLoader(
            dataset, batch_size=batch_size, micro_batch=micro_batch, rank=rank, world=world, workers=workers,
            start_step=start_step, steps=steps,
        )  # fmt: skip
        for step, batches, skipped in loader:
            assert len(batches) == batch_size // (micro_batch * world) and not skipped
            for batch in batches:
                for i, key in enumerate(batch.keys):
                    pixels = batch.inputs["images"][i].sum().item() if "images" in batch.inputs else 0.0
                    places = [] if batch.target_places is None else batch.target_places.tolist()
                    target = batch.target_images[places.index(i)].long().sum() if i in places else 0
                    ids = [batch.inputs[k][i] for k in ("input_ids", "target_ids")]
                    content = (batch.tasks[i], *(tuple(x[x != 0].tolist()) for x in ids), pixels, int(target))
                    assert out.setdefault(step, {}).setdefault((batch.tasks[i], key), content) == content
    return out


def test_batches_do_not_depend_on_ranks_workers_or_micro_batches(dataset):
    expected = loaded(dataset)
    assert {s: len(examples) for s, examples in expected.items()} == {0: 16, 1: 16, 2: 16}
    for world, workers, micro_batch in [(2, 0, 2), (4, 0, 4), (1, 2, 4), (2, 2, 8), (1, 1, 16)]:
        assert loaded(dataset, world, workers, micro_batch) == expected, (world, workers, micro_batch)


def test_resuming_continues_identically(dataset):
    whole, rest = loaded(dataset, steps=4), loaded(dataset, start_step=2, steps=4, workers=1)
    assert rest == {step: whole[step] for step in (2, 3)}


def test_ranks_share_no_example(dataset):
    seen = []
    for rank in range(2):
        for _, batches, _ in StepLoader(dataset, batch_size=16, micro_batch=4, rank=rank, world=2, steps=2):
            seen += [(b.tasks[i], b.keys[i]) for b in batches for i in range(len(b))]
    assert len(seen) == len(set(seen)) == 32


def test_micro_batches_are_of_one_shape(dataset):
    """Sorted by shape, only one micro-batch of a step can mix dense and text targets."""
    for _, batches, _ in StepLoader(dataset, batch_size=64, micro_batch=8, steps=3):
        mixed = [len({t == "toybox_depth" for t in b.tasks}) > 1 for b in batches]
        assert sum(mixed) <= 1


def test_proportions(dataset):
    order = dataset.order
    counts = np.bincount(order.task_of(0, order.block)) / order.block
    np.testing.assert_allclose(counts, [0.5, 0.25, 0.125, 0.125], atol=1 / order.block)


@pytest.mark.parametrize("vary", [True, False])
def test_rows_vary_between_epochs_only_if_asked_to(dataset, vary):
    refer = TaskData(load_task("toybox_refer"), open_source(load_task("toybox_refer"), "train"))
    order = MixtureOrder(3, [("toybox_refer", 3, 1.0)])
    again = MixtureDataset([refer], order, dataset.processor, vary=vary)
    seen = {}
    for i in range(60):  # twenty epochs of three rows
        encoded, _ = again[i]
        seen.setdefault(encoded.key, set()).add(tuple(encoded.input_ids.tolist()))
    assert len(seen) == 3
    assert all((len(inputs) > 1) is vary for inputs in seen.values())


def test_a_batch_that_does_not_divide_is_refused(dataset):
    with pytest.raises(UserError, match="make it a multiple of 6"):
        StepLoader(dataset, batch_size=16, micro_batch=3, world=2, steps=1)


# ---------------------------------------------------------------------------------------- collation


def test_collate_pads_and_weighs(dataset):
    examples = {}
    for i in range(200):
        encoded, _ = dataset[i]
        examples.setdefault(encoded.task, encoded)
    count, depth, text, pair = (
        examples[f"toybox_{k}"] for k in ("vqa_count", "depth", "paraphrase", "pair_statement")
    )
    batch = collate([count, depth, text, pair])
    assert batch.inputs["images"].shape == (4, 2, 64, 64, 3)
    assert batch.inputs["patch_mask"].sum(-1).tolist() == [[64, 0], [64, 0], [0, 0], [64, 64]]
    assert batch.target_images.shape == (1, 64, 64, 3) and batch.target_places.tolist() == [1]
    assert batch.inputs["target_code_mask"].any(-1).tolist() == [[False], [True], [False], [False]]
    # every target token weighs one, padding nothing
    assert batch.text_weights.sum() == sum(len(e.target_ids) for e in (count, depth, text, pair))
    assert batch.code_weights.sum() == depth.target_code_mask.sum() == 16
    assert batch.weight == batch.text_weights.sum() + 16

    even = collate([count, depth, text, pair], length_power=1.0)
    per_row = even.text_weights.sum(1) + even.code_weights.sum((1, 2))
    torch.testing.assert_close(per_row, torch.ones(4))
    assert "images" not in collate([text]).inputs and collate([text]).target_images is None


def test_codes_are_made_for_real_images_only(dataset):
    class Encoder:
        def encode(self, pixels):
            assert pixels.shape == (1, 64, 64, 3)
            return torch.full((1, 16), 7)

    examples = [
        e for e in (dataset[i][0] for i in range(40)) if e.task in ("toybox_depth", "toybox_vqa_count")
    ]
    depth = next(e for e in examples if e.target_image is not None)
    count = next(e for e in examples if e.target_image is None)
    batch = collate([count, depth]).with_codes(Encoder())
    assert batch.inputs["target_codes"].tolist() == [[[0] * 16], [[7] * 16]]
    assert batch.target_images is None


# ----------------------------------------------------------------------------------------- bad rows


class Rows(RowSource):
    """Rows of a text task; those in `bad` lack their keys."""

    root = Path()

    def __init__(self, n, bad):
        self.n, self.bad = n, set(bad)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {} if i in self.bad else {"first": f"a {i}", "second": "b", "answer": "yes"}

    def key(self, i):
        return f"rows.jsonl:{i + 1}"


def with_bad_rows(processor, n, bad):
    task = load_task("toybox_paraphrase")
    order = MixtureOrder(0, [(task.name, n, 1.0)])
    return MixtureDataset([TaskData(task, Rows(n, bad))], order, processor)


def test_a_bad_row_is_replaced_and_logged(processor, tmp_path):
    data = with_bad_rows(processor, 500, [3, 4])
    log = SkipLog(tmp_path / "run" / "skipped.jsonl", {"toybox_paraphrase": 500})
    for _ in range(2):  # a block holds two epochs; a row is counted once all the same
        items = [data[i] for i in range(data.order.block)]
        assert all(encoded.key not in ("rows.jsonl:4", "rows.jsonl:5") for encoded, _ in items)
        log.record([row for _, skipped in items for row in skipped])
    lines = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert sorted(line["key"] for line in lines) == ["rows.jsonl:4", "rows.jsonl:5"]
    assert all("first" in line["reason"] for line in lines)
    assert [e.key for e, _ in (data[i] for i in range(20))] == [
        e.key for e, _ in (data[i] for i in range(20))
    ]


def test_too_many_bad_rows_stop_the_run(processor, tmp_path):
    data = with_bad_rows(processor, 500, range(6))
    log = SkipLog(tmp_path / "skipped.jsonl", {"toybox_paraphrase": 500})
    with pytest.raises(UserError, match=r"6 of 500 rows could not be used, more than 1%.*rows.jsonl"):
        for i in range(data.order.block):
            log.record(data[i][1])


def test_a_hundred_bad_rows_in_a_row_stop_the_run(processor):
    with pytest.raises(UserError, match="100 rows in a row could not be used"):
        with_bad_rows(processor, 1000, range(1000))[0]


def test_an_error_in_a_worker_reaches_the_main_process_whole(processor):
    data = with_bad_rows(processor, 1000, range(1000))
    with pytest.raises(UserError, match="100 rows in a row") as error:
        list(StepLoader(data, batch_size=4, micro_batch=4, steps=1, workers=1))
    assert "Traceback" not in str(error.value)


def test_workers_end_with_the_iteration_whatever_ended_it(dataset):
    """They ignore signals, so a trainer that exits with an error would wait for them."""
    loader = StepLoader(dataset, batch_size=16, micro_batch=4, workers=1, steps=3)
    steps = iter(loader)
    with pytest.raises(ZeroDivisionError) as kept:  # with its traceback, as when Python reports it
        for _ in steps:
            assert multiprocessing.active_children()
            1 / 0  # noqa: B018
    steps.close()
    assert not multiprocessing.active_children(), kept


def test_workers_end_with_an_error_of_the_data(processor):
    bad = with_bad_rows(processor, 1000, range(1000))
    steps = iter(StepLoader(bad, batch_size=4, micro_batch=4, workers=1, steps=3))
    with pytest.raises(UserError) as kept:
        next(steps)
    assert not multiprocessing.active_children(), kept


# ------------------------------------------------------------------------------------------ streams


class Count(RowStream):
    root = None

    def __init__(self, n):
        self.n, self.started = n, 0

    def __iter__(self):
        self.started += 1
        return ((f"shard:{i}", {"i": i}) for i in range(self.n))


def test_streams_are_read_in_order_and_start_over():
    rows = StreamedRows(Count(10))
    assert [rows[i]["i"] for i in range(25)] == [i % 10 for i in range(25)]
    assert rows.key(12) == "shard:2"


def test_streams_go_back_a_little_without_reading_again():
    stream = Count(1000)
    rows = StreamedRows(stream, memory=50)
    assert [rows[i]["i"] for i in (30, 10, 29, 60, 40)] == [30, 10, 29, 60, 40] and stream.started == 1
    assert rows[2]["i"] == 2 and stream.started == 2


def test_an_empty_stream_is_an_error():
    with pytest.raises(UserError, match="no rows"):
        StreamedRows(Count(0))[0]

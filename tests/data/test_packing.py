"""Several examples a row: which share one, and that none sees another."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unified.data.collate import collate, collate_packed
from unified.data.dataset import MixtureDataset, open_tasks
from unified.data.loader import StepLoader
from unified.data.mixture import rates
from unified.data.order import MixtureOrder
from unified.data.packing import lengths, pack
from unified.evaluation.model_folder import build_processor
from unified.model import UnifiedConfig, UnifiedModel
from unified.objectives.base import build_objective
from unified.specs.load import load_mixture
from unified.tokenization.tokenizer_set import TokenizerSet

SHAPE = {
    "d_model": 32, "num_heads": 2, "head_dim": 16, "encoder_layers": 2, "decoder_layers": 2, "d_ff": 48,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers():
    return TokenizerSet.load("toy")


@pytest.fixture(scope="module")
def model(tokenizers):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": tokenizers.vocabulary.text_size, "image_vocab_size": tokenizers.vocabulary.image_size,
    }  # fmt: skip
    made = UnifiedModel(UnifiedConfig.of_size("toy", **SHAPE, **sizes))
    with torch.no_grad():
        made.encoder.image_index.weight.normal_(std=0.3)
    return made.eval()


@pytest.fixture(scope="module")
def data(model, tokenizers):
    """patches -> a dataset of the whole toybox."""
    mixture = load_mixture("toybox")
    tasks = open_tasks(mixture, "train")
    rows = {d.task.name: len(d.source) for d in tasks}
    shares = rates(mixture, rows)
    order = MixtureOrder(5, [(name, rows[name], shares[name]) for name in rows])
    processor = build_processor(model.config, tokenizers)
    return lambda patches=None: MixtureDataset(tasks, order, processor, patches=patches)


# ------------------------------------------------------------------------------------------- which

LENGTHS = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 300)), min_size=1, max_size=40)


@given(LENGTHS, st.integers(8, 500), st.integers(8, 500))
def test_every_example_stands_once_and_budgets_hold(examples, encoder, decoder):
    packed = pack(examples, encoder, decoder)
    assert sorted(i for row in packed.rows for i in row) == list(range(len(examples)))
    assert packed == pack(examples, encoder, decoder)
    for side, budget in enumerate((encoder, decoder)):
        most = max(budget, *(e[side] for e in examples))
        assert all(0 < sum(examples[i][side] for i in row) <= most for row in packed.rows)
    assert packed.overflow == sum(e > encoder or d > decoder for e, d in examples)


def test_rows_are_filled():
    rng = np.random.default_rng(0)
    examples = [(int(rng.integers(20, 150)), int(rng.integers(2, 60))) for _ in range(64)]
    rows = pack(examples, 512, 256).rows
    longest = [max(sum(examples[i][side] for i in row) for row in rows) for side in (0, 1)]
    assert sum(map(sum, examples)) / (len(rows) * sum(longest)) > 0.95


def test_one_long_example_lengthens_the_rows():
    examples = [(100, 3), (20, 3), (20, 3), (20, 3)]
    assert pack(examples, 30, 10).rows == pack(examples, 100, 10).rows == [[0], [1, 2, 3]]
    assert (pack(examples, 30, 10).overflow, pack(examples, 100, 10).overflow) == (1, 0)


# -------------------------------------------------------------------------------------------- leaks


def trained(model, batch, tokenizers):
    """The loss, the sums by task and the gradients of a batch."""
    tasks = sorted(set(batch.tasks))
    batch = batch.with_codes(tokenizers.image)
    model.zero_grad()
    loss, sums, _ = build_objective("seq2seq", tasks)(model(**batch.inputs), batch, None)
    loss.backward()
    return loss.detach(), sums, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("patches", [None, 20])
def test_packed_is_as_padded(model, data, tokenizers, patches):
    examples = [data(patches)[i][0] for i in range(40)]
    assert sum(e.target_image is not None for e in examples) > 3 and any(len(e.images) > 1 for e in examples)
    rows = pack([lengths(e) for e in examples], 300, 150).rows
    assert 1 < len(rows) < 30
    for power in (0.0, 0.5):
        padded, packed = collate(examples, power), collate_packed(examples, rows, power)
        assert packed.n_tokens == padded.n_tokens and packed.n_places < 0.6 * padded.n_places
        assert packed.n_tokens / packed.n_places > 0.85
        torch.testing.assert_close(packed.weight, padded.weight)
        loss, sums, gradients = trained(model, packed, tokenizers)
        expected = trained(model, padded, tokenizers)
        torch.testing.assert_close(loss / packed.weight, expected[0] / packed.weight, atol=1e-5, rtol=0)
        torch.testing.assert_close(sums, expected[1], atol=1e-3, rtol=1e-5)
        scale = max(float(g.abs().max()) for g in expected[2].values())
        for name, gradient in gradients.items():
            torch.testing.assert_close(
                gradient / scale, expected[2][name] / scale, atol=1e-5, rtol=0, msg=name
            )


def test_each_example_is_as_alone(model, data, tokenizers):
    examples = [data()[i][0] for i in range(12)]
    packed = collate_packed(examples, [list(range(12))]).with_codes(tokenizers.image)
    out = model(**packed.inputs)
    losses = torch.nn.functional.cross_entropy(
        out.text_logits, packed.inputs["target_ids"][packed.inputs["target_ids"] != 0], reduction="none"
    )
    for example, ours in zip(examples, losses.split([len(e.target_ids) for e in examples]), strict=True):
        alone = collate([example]).with_codes(tokenizers.image)
        ids = alone.inputs["target_ids"]
        theirs = torch.nn.functional.cross_entropy(
            model(**alone.inputs).text_logits, ids[ids != 0], reduction="none"
        )
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_what_is_beside_an_example_gets_no_gradient(model, data, tokenizers):
    """The loss of one example alone leaves the pixels of every other without a gradient."""
    examples = [e for e in (data()[i][0] for i in range(40)) if len(e.images)][:5]
    packed = collate_packed(examples, [[0, 1, 2, 3, 4]]).with_codes(tokenizers.image)
    images = packed.inputs["images"].requires_grad_()
    logits = model(**packed.inputs).text_logits.split([len(e.target_ids) for e in examples])
    logits[2].sum().backward()
    touched = images.grad.abs().sum((1, 2, 3)) > 0
    assert touched.tolist() == (packed.inputs["image_example"] == 2).tolist()


# ------------------------------------------------------------------------------------------- loader


def micro_batches(dataset, world, workers=0):
    """Keys and layouts of all micro-batches of two steps, in global order."""
    out = {}
    for rank in range(world):
        loader = StepLoader(
            dataset,
            batch_size=32,
            micro_batch=8,
            packing=(300, 150),
            rank=rank,
            world=world,
            workers=workers,
            steps=2,
        )
        for step, batches, _ in loader:
            for m, batch in enumerate(batches):
                layouts = [batch.inputs[f"{side}_layout"].tolist() for side in ("encoder", "decoder")]
                out[step, m * world + rank] = (batch.tasks, batch.keys, *layouts)
    return out


def test_packing_does_not_depend_on_ranks_or_workers(data):
    expected = micro_batches(data(), 1)
    assert len(expected) == 8
    assert micro_batches(data(), 2) == expected
    assert micro_batches(data(), 4, workers=1) == expected


def test_examples_of_a_step_are_those_of_padded_training(data):
    packed = micro_batches(data(), 1)
    padded = StepLoader(data(), batch_size=32, micro_batch=16, steps=2)
    for step, batches, _ in padded:
        ours = [pair for m in range(4) for pair in zip(*packed[step, m][:2], strict=True)]
        assert sorted(ours) == sorted(p for b in batches for p in zip(b.tasks, b.keys, strict=True))


def test_patches_are_drawn_anew_each_time_and_only_in_training(data):
    some, whole = data(20), data()
    for i in range(20):
        ours, all_ = some[i][0].patch_mask, whole[i][0].patch_mask
        assert not (ours & ~all_).any()
        assert (ours.sum(1) == np.minimum(20, all_.sum(1))).all()
        assert (some[i][0].patch_mask == ours).all()
        assert some[i][0].input_ids.tolist() == whole[i][0].input_ids.tolist(), "no other draw is changed"
    masks = [some[i][0].patch_mask for i in range(20) if len(some[i][0].patch_mask)]
    assert len({m[0].tobytes() for m in masks}) == len(masks)

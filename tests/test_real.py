"""The specs of small local samples of real sets, on the files under $UNIFIED_DATA, if present."""

import os
from pathlib import Path

import numpy as np
import pytest

from unified.data.dataset import MixtureDataset, TaskData
from unified.data.order import MixtureOrder
from unified.errors import UserError
from unified.sources.open import open_source
from unified.specs.load import list_tasks, load_task
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet

DATA = os.environ.get("UNIFIED_DATA")
REAL = [p for p in list_tasks() if p.parent.name == "samples"]

needs_data = pytest.mark.skipif(
    not (DATA and Path(DATA).is_dir()), reason="set UNIFIED_DATA to the folder of the real sets to run this"
)


@pytest.mark.real
@needs_data
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_rows_are_read_and_tokenised(path):
    """64 training examples of each task: at most one bad row, and nothing truncated to nothing."""
    task = load_task(path)
    tokenizers = TokenizerSet.load("toy")
    processor = Processor(
        tokenizers, image_size=64, patch_size=8, target_size=64, max_input_length=256, max_target_length=256
    )
    source = open_source(task, "train")
    order = MixtureOrder(0, [(task.name, len(source), 1.0)])
    data = MixtureDataset([TaskData(task, source)], order, processor)
    items = [data[i] for i in range(64)]
    assert sum(len(skipped) for _, skipped in items) <= 1
    dense = [e.target_image is not None for e, _ in items]
    assert all(dense) or not any(dense)
    for encoded, _ in items:
        assert len(encoded.input_ids) > 1 and np.isfinite(encoded.images).all()
    assert len({tuple(e.target_ids) for e, _ in items}) > 1 or all(dense)


@pytest.mark.parametrize("path", REAL[:1], ids=lambda p: p.stem)
def test_missing_data_says_where_it_was_looked_for(path, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIFIED_DATA", str(tmp_path))
    with pytest.raises(UserError, match=str(tmp_path)):
        open_source(load_task(path), "train")

"""A tiny model with the toy tokenizers, and the fixtures of the library for data."""

from __future__ import annotations

import pytest
import torch
from fixtures import ASSETS

from unified.evaluation.model_folder import build_processor
from unified.model import UnifiedConfig, UnifiedModel
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_DATA", str(ASSETS))


@pytest.fixture(scope="session")
def model() -> UnifiedModel:
    torch.manual_seed(0)
    return UnifiedModel(
        UnifiedConfig(
            vocab_size=3072, image_vocab_size=1024, d_model=32, num_heads=2, head_dim=16, encoder_layers=1,
            decoder_layers=1, d_ff=48, image_size=64, patch_size=16, target_grid=8, max_images=16,
            encoder_max_text_length=1024, decoder_max_text_length=1024,
        )
    )  # fmt: skip


@pytest.fixture(scope="session")
def processor(model: UnifiedModel) -> Processor:
    return build_processor(model.config, TokenizerSet.load("toy"))

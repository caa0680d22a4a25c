import pytest
import torch

from unified.tokenization.tokenizer_set import TokenizerSet


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy() -> TokenizerSet:
    return TokenizerSet.load("toy")


@pytest.fixture(scope="session")
def official() -> TokenizerSet:
    return TokenizerSet.load("unified_io", image_weights=False)

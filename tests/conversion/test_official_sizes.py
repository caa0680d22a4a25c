"""Files of the official sizes: small as a whole, the others by their keys and shapes."""

import tracemalloc

import numpy as np
import official
import pytest
import torch

from unified.conversion import flax_msgpack
from unified.conversion.architecture import Architecture, from_shapes, of_size
from unified.conversion.flax_msgpack import read
from unified.conversion.from_official import convert, unified_io_tasks
from unified.conversion.to_official import convert_back
from unified.errors import UserError
from unified.evaluation.model_folder import load_model_folder
from unified.model import UnifiedConfig


@pytest.fixture
def write_zeros(monkeypatch, tmp_path):
    """Writes a file of zeros of any size; they are holes, which take no room on the disk."""

    def hole(file, array):
        file.write(flax_msgpack._array_head(array))
        file.truncate(file.seek(array.nbytes, 1))

    def write(shapes):
        with monkeypatch.context() as patch:
            patch.setattr(flax_msgpack, "_write_array", hole)
            flat = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
            return official.write_arrays(tmp_path / "zeros.bin", flat)

    return write


def test_xl_is_checked_within_little_memory(write_zeros, tmp_path):
    path = write_zeros(official.shapes("xl"))
    assert path.stat().st_size > 11.7e9 and path.stat().st_blocks * 512 < 20e6
    tracemalloc.start()
    try:
        shapes = {key: leaf.shape for key, leaf in read(path).items()}
        found = from_shapes(shapes, path)
        found.check(shapes, path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert found.size == "xl"
    with pytest.raises(UserError, match=r"of size 'large':\n.*with \(2048, 2048\) instead of \(1024, 1024\)"):
        convert(path, tmp_path / "out", size="large")
    assert [p.name for p in tmp_path.iterdir()] == ["zeros.bin"]


def test_a_truncated_xl(write_zeros, tmp_path):
    path = write_zeros(official.shapes("xl"))
    with path.open("r+b") as file:
        file.truncate(11 * 10**9)
    with pytest.raises(
        UserError, match=r"encoder/layers_8/mlp/wi_1/kernel: the file is cut off; .* bytes more are wanted"
    ):
        convert(path, tmp_path / "out")


def test_memory_of_a_conversion_is_that_of_a_shard(write_zeros, tmp_path):
    tiny = from_shapes(official.shapes("tiny_a"), tmp_path)
    small = of_size("small").model.to_dict() | {
        "vocab_size": tiny.model.vocab_size,
        "image_vocab_size": tiny.model.image_vocab_size,
        "encoder_layers": 4,
        "decoder_layers": 4,
    }
    path = write_zeros(Architecture(UnifiedConfig(**small), tiny.vqgan).manifest)
    assert path.stat().st_size > 100e6
    tracemalloc.start()
    try:
        convert(path, tmp_path / "out", shard_bytes=20_000_000)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 4


@pytest.mark.slow
def test_small_as_a_whole(tmp_path):
    flat = official.golden.recipe.det_params(official.shapes("small"), head_dim=64, tag="small")
    path = official.write_arrays(tmp_path / "small.bin", flat)
    lines = convert(path, tmp_path / "small", shard_bytes=10**8)
    assert "official size 'small'" in lines[0] and not any("note" in line for line in lines)
    loaded = load_model_folder(tmp_path / "small", device="cpu")
    assert loaded.trained and set(loaded.tasks) == {task.name for task in unified_io_tasks()}
    weights = loaded.model.state_dict()
    assert (weights["token_embedder.weight"].numpy() == flat["token_embedder/embedding"]).all()
    wanted = of_size("small").model.to_dict()
    found = loaded.model.config.to_dict()
    assert {key: found[key] for key in wanted if key not in ("architectures", "dtype")} == {
        key: wanted[key] for key in wanted if key not in ("architectures", "dtype")
    }
    tokenizers = loaded.processor.tokenizers
    assert tokenizers.name == "unified_io" and tokenizers.vocabulary.text_size == 33152
    assert torch.equal(tokenizers.image.codebook, torch.from_numpy(flat["discrete_vae/quantize/embedding"]))
    convert_back(tmp_path / "small", tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()

"""Files of the official sizes by their keys and shapes, and models of the official vocabulary."""

import filecmp
import shutil
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
from unified.model import UnifiedConfig, UnifiedModel
from unified.model.official import official_key, to_ours
from unified.tokenization.tokenizer_set import TokenizerSet


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


def test_a_small_model_of_the_official_vocabulary(tmp_path):
    """Becomes a whole model folder: its tokenizer set is the official one with the checkpoint's own VQGAN."""
    tiny = from_shapes(official.shapes("tiny_a"), tmp_path)
    changes = {"vocab_size": 33152, "image_vocab_size": 16384, "d_model": 16, "num_segments": 8}
    model = UnifiedConfig(**(tiny.model.to_dict() | changes))
    other = Architecture(model, tiny.vqgan.model_copy(update={"n_embed": 16384}))
    flat = official.golden.recipe.det_params(other.manifest, head_dim=8, tag="x")
    path = official.write_arrays(tmp_path / "x.bin", flat)
    lines = convert(path, tmp_path / "x")
    assert len(lines) == 2 and "a size of its own" in lines[0]

    loaded = load_model_folder(tmp_path / "x", device="cpu")
    assert loaded.trained and set(loaded.tasks) == {task.name for task in unified_io_tasks()}
    tokenizers = loaded.processor.tokenizers
    shipped = TokenizerSet.load("unified_io", image_weights=False)
    assert tokenizers.vocabulary.location_id(999) == shipped.vocabulary.location_id(999) == 32000
    assert tokenizers.text.encode("Two cats.") == shipped.text.encode("Two cats.")
    assert tokenizers.config.image.how_to_get is None and tokenizers.config.image.size == 256
    assert torch.equal(tokenizers.image.codebook, torch.from_numpy(flat["discrete_vae/quantize/embedding"]))
    weights = tmp_path / "x/tokenizer/vqgan.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert TokenizerSet.load(tmp_path / "x/tokenizer").hash != tokenizers.hash


@pytest.mark.slow
@pytest.mark.parametrize("size", ["base", "large"])
def test_a_larger_size_there_and_back(size, tmp_path):
    shapes = official.shapes(size)

    def random(key):
        return official.golden.recipe.det_params({key: shapes[key]}, head_dim=64, tag=size)[key]

    path, folder, again = tmp_path / "x.bin", tmp_path / size, tmp_path / "again.bin"
    try:
        flax_msgpack.write(path, flax_msgpack.flax_order(shapes), random)
        lines = convert(path, folder)
        assert f"official size '{size}'" in lines[0] and len(lines) == 2
        assert len(list(folder.glob("model*.safetensors"))) == {"base": 1, "large": 2}[size]
        weights = UnifiedModel.from_pretrained(folder).state_dict()
        for name in ("token_embedder.weight", "encoder.layers.0.mlp.wo.weight", "decoder.final_norm.weight"):
            key = official_key(name)
            assert torch.equal(weights[name], torch.from_numpy(to_ours(key, random(key)).copy())), name
        convert_back(folder, again)
        assert filecmp.cmp(path, again, shallow=False)
    finally:  # pytest would keep them for three runs
        shutil.rmtree(tmp_path)

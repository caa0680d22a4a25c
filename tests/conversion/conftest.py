import official
import pytest

from unified.conversion.from_official import convert


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """(checkpoint, model folder) of the golden cases."""
    folder = tmp_path_factory.mktemp("conversion")
    path = official.write_arrays(folder / "tiny_a.bin", official.tiny_arrays())
    convert(path, folder / "tiny_a", command="unified convert unified-io tiny_a.bin tiny_a")
    return path, folder / "tiny_a"

"""The commands of docs/tokenizers.md, run beside a copy of what they name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unified.tokenization.tokenizer_set import TokenizerSet

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_a_set_can_be_made_as_the_page_says(tmp_path, toy):
    shutil.copytree(ROOT / "tokenizers", tmp_path / "tokenizers")
    page = (ROOT / "docs" / "tokenizers.md").read_text()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in re.findall(r"```bash\n(.*?)```", page, flags=re.S):
        for command in block.splitlines():
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True,
                text=True, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    made = TokenizerSet.load(tmp_path / "my_set")
    assert made.hash != toy.hash
    assert made.image.n_codes == 1024 and made.text.encode("red cube")

"""What the constant and the perfect predictor score on the fixtures, by family, in
tests/assets/library/expected/<family>.yaml.

    vqav2:
      split: validation         # the split that is scored; default: validation, else the first with answers
      skipped: {train: 1}       # rows of a split that cannot be used, where the fixture holds such
      answer: "yes"             # what the constant predictor says; see `constants.py` for the defaults
      constant:                 # its scores by label, the headline's for one; rankings: all options equal
        vqa_accuracy: 0.45      # 2 of 4 questions: (0.9 + 0.9 + 0 + 0) / 4
        "vqa_accuracy: yes/no": 0.9
      perfect:                  # only where it is not the official maximum: the tokenizers' ceiling
        cider: 3.1              # by label; a number (within 0.005), or {at_least: 0.9} / {at_most: 0.2}
                                # / {or_absent: 1} of metrics that need a program (Java)

A comment says how each number was worked out by hand. A mirror whose fixture has the same content may say
`vqav2_hub: {same_as: vqav2}`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).parents[1] / "assets" / "library" / "expected"
KEYS = {"split", "skipped", "answer", "constant", "perfect", "same_as"}
MAXIMA = {"mae": 0.0, "mean_rank": 1.0, "mrr": 1.0, "pearson": 1.0, "depth_rmse": 0.0, "depth_absrel": 0.0,
          "normals_angle": 0.0}  # fmt: skip
"""The official maximum of metrics that are no percentages."""


@cache
def all_expected() -> dict[str, dict[str, Any]]:
    """Task -> what is expected of it."""
    out: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for task, entry in (YAML(typ="safe", pure=True).load(path) or {}).items():
            assert task not in out, f"{path}: {task} stands in two files"
            assert entry.keys() <= KEYS, f"{path}: {task}: unknown keys {entry.keys() - KEYS}"
            out[task] = entry
    return out


def expected(task: str) -> dict[str, Any]:
    entry = all_expected().get(task)
    assert entry is not None, f"{task}: nothing is expected of it in {FOLDER}; see tests/library/expected.py"
    if "same_as" in entry:
        return {**expected(entry["same_as"]), **{k: v for k, v in entry.items() if k != "same_as"}}
    return entry

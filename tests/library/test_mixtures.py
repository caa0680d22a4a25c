"""The mixtures of the library: official tasks with rows to train on, at the rates that they state."""

from __future__ import annotations

from collections import defaultdict

import pytest

from unified.data.mixture import rates
from unified.sources.base import RowSource
from unified.sources.open import open_source
from unified.specs.load import load_mixture
from unified.specs.task import LoadedMixture

MIXTURES = ("unified_io", "vision_language", "grounding", "dense", "language")


def rows(mixture: LoadedMixture) -> dict[str, int]:
    sources = {entry.task.name: open_source(entry.task, "train") for entry in mixture.entries}
    return {name: len(source) for name, source in sources.items() if isinstance(source, RowSource)}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture(name: str) -> None:
    mixture = load_mixture(name)
    assert mixture.spec.citation and len(mixture.entries) > 5
    assert all("library" in entry.task.spec.tags for entry in mixture.entries)
    found = rates(mixture, rows(mixture))
    assert len(found) == len(mixture.entries) and sum(found.values()) == pytest.approx(1)


def test_groups_of_unified_io() -> None:
    """Each group an eighth, image synthesis three sixteenths, dense labelling one; square roots inside."""
    mixture = load_mixture("unified_io")
    sizes = rows(mixture)
    found = rates(mixture, sizes)
    sums: dict[str, float] = defaultdict(float)
    for entry in mixture.entries:
        assert entry.group is not None
        sums[entry.group] += found[entry.task.name]
    sixteenths = dict.fromkeys(sums, 2) | {"image_synthesis": 3, "dense_labelling": 1}
    whole = sum(sixteenths[group] for group in sums)
    assert sums == pytest.approx({group: sixteenths[group] / whole for group in sums})
    ratio = found["refcoco"] / found["refcocog"]
    assert ratio == pytest.approx((sizes["refcoco"] / sizes["refcocog"]) ** 0.5)

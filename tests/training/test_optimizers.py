"""Which parameter decays, and at which rate each learns."""

import pytest
import torch
from torch import nn

from unified.training.config import OptimConfig
from unified.training.optimizers import build_optimizer, parameter_groups, set_learning_rate


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(5, 4)
        self.matrix = nn.Linear(4, 4)
        self.stem = nn.Conv2d(3, 4, 2)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
        self.bias_table = nn.Parameter(torch.zeros(3, 3))


def options(**changes):
    return OptimConfig(lr=0.5, weight_decay=0.1, embedding_lr=10, steps=1, **changes)


def test_every_trainable_parameter_is_in_one_group():
    model = Model()
    matrices, tables, rest = parameter_groups(model, options())
    assert [id(p) for p in matrices["params"]] == [id(model.matrix.weight), id(model.stem.weight)]
    assert [id(p) for p in tables["params"]] == [id(model.tokens.weight)]
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in rest["params"]} == {
        "matrix.bias", "stem.bias", "norm.weight", "norm.bias", "bias_table",
    }  # fmt: skip
    assert [g["weight_decay"] for g in (matrices, tables, rest)] == [0.1, 0, 0]


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_embeddings_learn_at_their_multiple_of_the_rate(name):
    optimizer = build_optimizer(Model(), options(name=name))
    set_learning_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 2.0, 0.2])


def test_a_group_without_parameters_is_left_out():
    assert len(build_optimizer(nn.Linear(2, 2, bias=False), options()).param_groups) == 1

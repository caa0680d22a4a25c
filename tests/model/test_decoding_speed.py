"""What makes decoding fast changes no answer: the buffered cache, repacked weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from unified.model import UnifiedConfig, UnifiedModel
from unified.model.cache import ROOM, BufferedLayer
from unified.model.linear import Repacked, project, repack

CONFIG = UnifiedConfig.of_size("toy", decoder_max_text_length=200)


@pytest.fixture
def model() -> UnifiedModel:
    torch.manual_seed(0)
    return UnifiedModel(CONFIG).eval()


def answers(model: UnifiedModel, **knobs: object) -> Tensor:
    ids = torch.tensor([[7, 8, 9, 1], [5, 1, 0, 0]])
    return model.generate(ids, max_new_tokens=ROOM + 10, eos_token_id=None, **knobs)


@pytest.mark.parametrize("knobs", [{}, {"num_beams": 3}, {"guidance_scale": 2.0}])
def test_repacked_weights_change_no_answer(model: UnifiedModel, knobs: dict[str, object]) -> None:
    before = answers(model, **knobs)
    model.prepare_for_decoding()
    assert model.decoder.layers[0].mlp.wo.repacked.usable(torch.zeros(1)) is False  # gradients are on here
    assert torch.equal(answers(model, **knobs), before)


def test_repacked_weights_are_used_and_watched() -> None:
    first, second = torch.nn.Linear(8, 3, bias=False), torch.nn.Linear(8, 5, bias=False)
    repack(first, second)
    packed, x = first.repacked, torch.randn(2, 4, 8)
    assert isinstance(packed, Repacked)
    with torch.no_grad():
        assert packed.usable(x)
        for got, linear in zip(project(x, first, second), (first, second), strict=True):
            torch.testing.assert_close(got, linear(x))
        assert not packed.usable(x.bfloat16())
        second.weight.mul_(2)  # as an optimiser does
        assert not packed.usable(x)
        torch.testing.assert_close(project(x, first, second)[1], second(x))


def test_other_groups_of_the_same_weight_are_not_mixed_up() -> None:
    first, second = torch.nn.Linear(8, 3, bias=False), torch.nn.Linear(8, 5, bias=False)
    repack(first, second)
    with torch.no_grad():
        (alone,) = project(torch.ones(1, 8), first)
    assert alone.shape == (1, 3)


def test_a_prepared_model_trains_and_then_answers_anew(model: UnifiedModel) -> None:
    model.prepare_for_decoding()
    targets = torch.tensor([[20, 21, 1]])
    with torch.no_grad():
        before = model(input_ids=torch.tensor([[7, 1]]), target_ids=targets).text_logits
    loss = model.train()(input_ids=torch.tensor([[7, 1]]), target_ids=targets).text_logits.square().mean()
    loss.backward()
    assert model.decoder.layers[0].mlp.wo.weight.grad is not None
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    plain = UnifiedModel(CONFIG).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        after = model.eval()(input_ids=torch.tensor([[7, 1]]), target_ids=targets).text_logits
        torch.testing.assert_close(
            after, plain(input_ids=torch.tensor([[7, 1]]), target_ids=targets).text_logits
        )
    assert not torch.allclose(after, before)


def test_nothing_is_repacked_for_other_dtypes(model: UnifiedModel) -> None:
    model.bfloat16().prepare_for_decoding()
    assert not hasattr(model.decoder.layers[0].mlp.wo, "repacked")


def test_the_buffer_grows_and_keeps_what_it_holds() -> None:
    layer = BufferedLayer()
    keys = torch.randn(2, 3, ROOM + 5, 4)
    layer.update(keys[:, :, :7], -keys[:, :, :7])
    start = layer.keys.data_ptr()
    for i in range(7, ROOM):
        got, values = layer.update(keys[:, :, i : i + 1], -keys[:, :, i : i + 1])
        assert got.data_ptr() == start  # written in place
    layer.reorder_cache(torch.tensor([1, 1]))
    for i in range(ROOM, ROOM + 5):
        got, values = layer.update(keys[1:, :, i : i + 1].expand(2, -1, -1, -1), -keys[[1, 1], :, i : i + 1])
    assert torch.equal(got, keys[[1, 1]]) and torch.equal(values, -keys[[1, 1]])
    assert layer.get_seq_length() == ROOM + 5
    layer.crop(-10)
    assert torch.equal(
        layer.update(keys[:, :, :1], keys[:, :, :1])[0][:, :, :-1], keys[[1, 1], :, : ROOM - 5]
    )


def test_a_cache_does_not_reach_into_a_copy_of_it() -> None:
    layer = BufferedLayer()
    layer.update(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4))
    other = copy.deepcopy(layer)
    layer.update(torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4))
    assert torch.equal(
        other.update(torch.full((1, 1, 1, 4), 3.0), torch.ones(1, 1, 1, 4))[0][0, 0, 2], torch.full((4,), 3.0)
    )
    assert torch.equal(layer.keys[0, 0, 2], torch.zeros(4))

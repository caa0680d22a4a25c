"""Forward, packing, images, gradients, weights on disk."""

import logging

import pytest
import small
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from unified.errors import UserError
from unified.model import UnifiedConfig, UnifiedModel, flex

EVERYTHING = small.pack(small.EXAMPLES)


def no_image(batch):
    return {k: v for k, v in batch.items() if not k.startswith(("image", "patch"))}


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    "changes", [{}, {"patch_embed": "conv"}, {"max_images": 1}, {"num_heads": 2, "head_dim": 16}]
)
def test_shapes(changes):
    batch = {
        "input_ids": torch.tensor([[5, 6, 1, 0], [7, 8, 9, 1]]),
        "images": torch.randint(0, 256, (2, 1, 8, 8, 3), dtype=torch.uint8),
        "target_ids": torch.tensor([[5, 1, 0], [6, 7, 1]]),
        "target_codes": torch.randint(0, 11, (2, 1, 9)),
        "target_code_mask": torch.arange(9).expand(2, 1, 9) < 7,
    }
    out = small.model(**changes)(**batch)
    assert out.text_logits.shape == (5, 40)
    assert out.image_logits.shape == (14, 11)
    assert out.encoder_last_hidden_state.shape == (2, 4 + 4, 24)
    assert all(x.isfinite().all() for x in (out.text_logits, out.image_logits))


def test_pixels_as_bytes_or_floats_are_the_same():
    model = small.model()
    batch = small.EXAMPLES[1]
    floats = {**batch, "images": batch["images"].float()}
    assert torch.equal(model(**batch).text_logits, model(**floats).text_logits)


def test_normalisation_is_the_stated_one():
    model = small.model(d_model=48, image_mean=(0.1, 0.2, 0.3), image_std=(0.5, 0.6, 0.7))
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    x = (image / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.5, 0.6, 0.7])
    embed = model.encoder.patch_embedding
    # second patch of the first row: rows 0-3, columns 4-7, flattened as (row, column, channel)
    torch.testing.assert_close(
        embed(image)[0, 1], embed.projection(x[0, :4, 4:].reshape(-1)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("patch, grid", [(4, 8), (8, 4), (16, 2), (32, 1)])
def test_the_convolutional_stem_makes_one_token_a_patch(patch, grid):
    model = small.model(patch_embed="conv", patch_size=patch, image_size=32)
    assert model.encoder.patch_embedding(torch.zeros(2, 32, 32, 3)).shape == (2, grid * grid, 24)


def test_codes_as_input():
    model = small.model(image_input="codes")
    batch = small.EXAMPLES[0] | {"image_codes": torch.tensor([[[0, 3, 10, 3]]])}
    with_codes, without = model(**batch).text_logits, model(**small.EXAMPLES[0]).text_logits
    assert with_codes.shape == without.shape and not torch.allclose(with_codes, without)
    with pytest.raises(ValueError, match="image_input is 'codes'"):
        model(**small.EXAMPLES[1])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": torch.zeros(1, 1, 8, 4, 3)}, r"shape \(8, 4, 3\), this model's have \(8, 8, 3\)"),
        ({"images": torch.zeros(1, 5, 8, 8, 3)}, "5 images of one example, but max_images is 4"),
        ({"target_codes": torch.zeros(1, 1, 4, dtype=torch.long)}, "4 codes, this model's have 9"),
        ({"input_ids": torch.ones(1, 21, dtype=torch.long)}, "21 text tokens, but this model has 20"),
        ({"target_ids": torch.ones(1, 17, dtype=torch.long)}, "17 text tokens, but this model has 16"),
        ({"target_ids": None}, "target_ids"),
        ({"input_ids": None}, "input_ids"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        small.model()(**{**small.EXAMPLES[0], **change})


# ---------------------------------------------------------------- rows do not leak


@pytest.fixture(params=["sdpa", "eager", "flex_attention"])
def backend(request, monkeypatch):
    """FlexAttention's kernels have no gradient on a CPU: its formula is evaluated pair by pair instead."""

    def formula(q, k, v, *, score_mod, block_mask, scale):
        grid = torch.meshgrid(*map(torch.arange, (*q.shape[:3], k.shape[2])), indexing="ij")
        scores = (q @ k.transpose(-1, -2)) * scale
        scores = scores if score_mod is None else score_mod(scores, *grid)
        return scores.masked_fill(~block_mask.mask_mod(*grid), -torch.inf).softmax(-1) @ v

    monkeypatch.setattr(flex, "flex_attention", formula)
    return request.param


def test_packed_equals_alone(backend):
    model = small.model()
    model.set_attn_implementation(backend)
    alone = [small.losses(model, e) for e in small.EXAMPLES]
    packed = small.losses(model, EVERYTHING)
    for kind in range(2):
        torch.testing.assert_close(packed[kind], torch.cat([a[kind] for a in alone]), atol=1e-5, rtol=0)
    ours = small.gradients(model, sum(x.sum() for x in packed))
    theirs = small.gradients(model, sum(x.sum() for pair in alone for x in pair))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_packed_row_may_hold_more_images_than_one_example():
    model = small.model()
    row = small.pack([small.EXAMPLES[3]] * 3)
    assert len(row["images"]) > model.config.max_images
    one, three = model(**small.EXAMPLES[3]).image_logits, model(**row).image_logits
    torch.testing.assert_close(three, one.repeat(3, 1), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_flex_attention_is_sdpa():
    model = small.model()
    expected = small.losses(model, EVERYTHING)
    model.set_attn_implementation("flex_attention")
    for ours, theirs in zip(small.losses(model, EVERYTHING), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [[[0, 1, 2], [3]], [[2, 0], [3, 1]], [[3], [2], [1], [0]]])
def test_rows_may_be_any(rows, backend):
    model = small.model()
    model.set_attn_implementation(backend)
    packed = small.losses(model, small.pack(small.EXAMPLES, rows))
    for ours, theirs in zip(packed, small.losses(model, EVERYTHING), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_order_of_packing_does_not_matter():
    model = small.model()
    first = small.losses(model, small.pack(small.EXAMPLES))[1]
    turned = small.losses(model, small.pack(small.EXAMPLES[::-1], padding=0))[1]
    split = int(small.EXAMPLES[2]["target_code_mask"].sum())
    torch.testing.assert_close(first, turned.roll(split), atol=1e-5, rtol=0)


def test_padding_does_not_matter():
    model = small.model()
    batch = small.EXAMPLES[1]
    padded = batch | {k: torch.nn.functional.pad(batch[k], (0, 3)) for k in ("input_ids", "target_ids")}
    torch.testing.assert_close(model(**padded).text_logits, model(**batch).text_logits, atol=1e-5, rtol=0)


def test_masked_patches_are_not_seen():
    model = small.model()
    batch = small.EXAMPLES[1]
    changed = batch | {"images": batch["images"].clone()}
    changed["images"][:, :, 4:, 4:] = 255 - changed["images"][:, :, 4:, 4:]  # the one masked patch
    assert torch.equal(model(**changed).text_logits, model(**batch).text_logits)
    changed["patch_mask"] = torch.ones_like(batch["patch_mask"])
    assert not torch.allclose(model(**changed).text_logits, model(**batch).text_logits)


# ---------------------------------------------------------------- images


def test_an_absent_image_is_no_image():
    model = small.model()
    batch = small.EXAMPLES[1]
    plus = batch | {
        "images": torch.cat([batch["images"], torch.randint_like(batch["images"], 256)], 1),
        "patch_mask": torch.cat([batch["patch_mask"], torch.zeros_like(batch["patch_mask"])], 1),
    }
    torch.testing.assert_close(model(**plus).text_logits, model(**batch).text_logits, atol=1e-5, rtol=0)
    none = no_image(batch)
    absent = batch | {"patch_mask": torch.zeros_like(batch["patch_mask"])}
    torch.testing.assert_close(model(**absent).text_logits, model(**none).text_logits, atol=1e-5, rtol=0)


def test_no_image_costs_no_positions():
    out = small.model()(**small.EXAMPLES[0])
    assert out.encoder_last_hidden_state.shape[1] == small.EXAMPLES[0]["input_ids"].shape[1]


def test_two_images_are_told_apart_by_their_index_alone():
    model = small.model()
    batch = small.EXAMPLES[3]
    swapped = batch | {"images": batch["images"].flip(1)}
    assert not torch.allclose(model(**swapped).text_logits, model(**batch).text_logits, atol=1e-4)
    model.encoder.image_index.weight.data.zero_()  # as in a converted official model
    torch.testing.assert_close(model(**swapped).text_logits, model(**batch).text_logits, atol=1e-5, rtol=0)


def test_index_is_zero_at_first():
    assert UnifiedModel(small.config()).encoder.image_index.weight.abs().sum() == 0


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("patch_embed", ["linear", "conv"])
@pytest.mark.parametrize(
    "batch", [EVERYTHING, small.EXAMPLES[0], small.EXAMPLES[2]], ids=["all", "text", "image out"]
)
def test_every_parameter_takes_part_in_training(batch, patch_embed):
    model = small.model(patch_embed=patch_embed).train()
    gradients = small.gradients(model, sum(x.sum() for x in small.losses(model, batch)))
    assert gradients.keys() == {n for n, _ in model.named_parameters()}
    if batch is EVERYTHING:
        assert all(g.abs().sum() > 0 for g in gradients.values())


def test_every_parameter_takes_part_with_codes_as_input():
    model = small.model(image_input="codes").train()
    gradients = small.gradients(model, small.losses(model, small.EXAMPLES[0])[0].sum())
    assert gradients.keys() == {n for n, _ in model.named_parameters()}


def test_training_without_images_gives_the_losses_of_evaluation():
    model = small.model()
    evaluated = small.losses(model, small.EXAMPLES[0])[0]
    assert torch.equal(small.losses(model.train(), small.EXAMPLES[0])[0], evaluated)


def test_checkpointing_does_not_change_gradients():
    model = small.model().train()
    plain = small.gradients(model, sum(x.sum() for x in small.losses(model, EVERYTHING)))
    model.gradient_checkpointing_enable()
    again = small.gradients(model, sum(x.sum() for x in small.losses(model, EVERYTHING)))
    for name in plain:
        torch.testing.assert_close(again[name], plain[name], atol=1e-6, rtol=1e-5, msg=name)


def test_dropout_is_the_same_along_the_length():
    model = small.model(dropout=0.5).train()
    ones = torch.ones(3, 7, 24)
    dropped = model.encoder.dropout(ones)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped)) and set(dropped.unique().tolist()) == {
        0.0,
        2.0,
    }
    torch.manual_seed(1)
    first = small.losses(model, EVERYTHING)[0]
    assert not torch.equal(first, small.losses(model, EVERYTHING)[0])
    assert torch.equal(small.losses(model.eval(), EVERYTHING)[0], small.losses(small.model(), EVERYTHING)[0])


def test_attention_dropout_drops_a_key_for_all_queries():
    attention = small.model(dropout=0.5).encoder.layers[0].attention.train()
    x = torch.randn(1, 4, 24)
    with torch.no_grad():
        attention.query.weight.zero_()  # every query weighs all keys alike ...
        attention.out.weight.copy_(torch.eye(24)[:, :18])
        torch.manual_seed(0)
        y = attention(x, None)
        values = attention.value(x).view(4, 3, 6)
    torch.testing.assert_close(y, y[:, :1].expand_as(y))  # ... so all queries lose the same ones
    for head in range(3):
        part = y[0, 0, 6 * head : 6 * head + 6]
        subsets = [values[list(s), head].sum(0) * 2 / 4 for s in subsets_of(4)]
        assert min((part - s).abs().max() for s in subsets) < 1e-5


def subsets_of(n):
    return [[i for i in range(n) if bits >> i & 1] for bits in range(2**n)]


def test_bfloat16():
    model = small.model().train()
    exact = small.losses(model, EVERYTHING)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = small.losses(model, EVERYTHING)[0]
    assert (exact - rough).abs().max() < 0.1
    gradients = small.gradients(model, rough.sum())
    assert all(g.isfinite().all() for g in gradients.values())
    assert (exact - small.losses(model.bfloat16(), EVERYTHING)[0]).abs().max() < 0.2


# ---------------------------------------------------------------- configuration and weights


def test_bad_configurations_name_the_field():
    with pytest.raises(
        UserError, match=r"image_size 10 .* patch_size 4.*patch_embed is 'convv'.*did you mean 'conv'"
    ):
        small.config(image_size=10, patch_embed="convv")
    with pytest.raises(UserError, match="'smal' is not known .did you mean 'small'"):
        UnifiedConfig.of_size("smal")


def test_round_trip_through_a_folder(tmp_path):
    model = small.model()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()
    assert AutoConfig.from_pretrained(tmp_path).to_diff_dict() == model.config.to_diff_dict()
    for again in (UnifiedModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert torch.equal(again(**EVERYTHING).image_logits, model(**EVERYTHING).image_logits)
    half = UnifiedModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["missing", "unknown"])
def test_weights_of_another_model_are_refused(tmp_path, kind):
    model = small.model()
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if kind == "missing":
        del weights["decoder.layers.1.mlp.wo.weight"]
    else:
        weights["decoder.layers.9.mlp.wo.weight"] = torch.zeros(2)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=rf"1 weights are {kind}, the first is decoder.layers.\d.mlp.wo.weight"
    ):
        UnifiedModel.from_pretrained(tmp_path)
    loaded, info = UnifiedModel.from_pretrained(tmp_path, strict=False, output_loading_info=True)
    assert len(info["missing_keys"] or info["unexpected_keys"]) == 1
    assert torch.equal(loaded.token_embedder.weight, model.token_embedder.weight)


def test_random_weights_are_announced(caplog):
    with caplog.at_level(logging.WARNING):
        AutoModel.from_config(small.config())
    assert "randomly initialised" in caplog.text


# ---------------------------------------------------------------- one graph for every batch


def calls(model, batch):
    """The modules that run, in order, forward and backward, in one training step."""
    order = []

    def on(kind, name):
        return lambda *_: order.append((kind, name))

    hooks = []
    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            hooks.append(module.register_forward_pre_hook(on("forward", name)))
            hooks.append(module.register_full_backward_pre_hook(on("backward", name)))
    sum(x.sum() for x in small.losses(model, batch)).backward()
    for hook in hooks:
        hook.remove()
    return order


@pytest.mark.parametrize("changes", [{}, {"patch_embed": "conv"}, {"image_input": "codes"}])
def test_the_same_modules_run_in_the_same_order_whatever_a_batch_holds(changes):
    """ZeRO-3 gathers parameters around each call on all ranks at once: ranks must make the same calls."""
    model = small.model(**changes).train()
    everything = dict(EVERYTHING)
    if changes.get("image_input") == "codes":
        everything["image_codes"] = torch.randint(
            0, 11, everything.pop("images").shape[:1] + (small.PATCHES,)
        )
    expected = calls(model, everything)
    assert len(expected) > 60
    for example in (small.EXAMPLES[0], small.EXAMPLES[2]):
        assert calls(model, example) == expected

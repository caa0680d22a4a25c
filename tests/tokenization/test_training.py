"""Training of the text and of the image tokenizer, in miniature."""

import hashlib

import numpy as np
import pytest
import torch

from unified.errors import UserError
from unified.tokenization.image_trainer import ImageTrainer
from unified.tokenization.image_training import ImageTrainingConfig, read_training_config
from unified.tokenization.muon import Muon, orthogonalised
from unified.tokenization.text import load_sentencepiece
from unified.tokenization.train_image import collect_images, train_image
from unified.tokenization.train_text import mixture_texts, train_text
from unified.tokenization.vqgan import VQConfig, VQModel

MIXTURE = """
mixture: few
tasks: [toybox_refer, toybox_depth, toybox_segmentation_shape, toybox_vqa_count]
"""
CONFIG = """
model:
  params:
    embed_dim: 4
    n_embed: 32
    ddconfig: {z_channels: 8, resolution: 16, ch: 32, ch_mult: [1, 1], num_res_blocks: 1}
training:
  mixture: MIXTURE
  size: 16
  images: 96
  share: {depth: 2}
  steps: 24
  batch_size: 8
  learning_rate: 0.02
  warmup: 2
  crop: {side: 8, until: 6}
  codebook_start: 8
  restart_every: 4
  discriminator: {start: 20}
  log_every: 24
  precision: fp32
"""


@pytest.fixture
def mixture(tmp_path):
    path = tmp_path / "few.yaml"
    path.write_text(MIXTURE)
    return path


@pytest.fixture
def config(mixture, tmp_path):
    path = tmp_path / "vqgan.yaml"
    path.write_text(CONFIG.replace("MIXTURE", str(mixture)))
    return path


# --------------------------------------------------------------------------------- text


def test_texts_hold_prompts_answers_and_options_of_training_rows(mixture):
    texts = list(mixture_texts(mixture, 5, seed=0))
    assert {"1", "2", "3", "4", "5", "What is the depth map of the image ?"} <= {*texts}
    assert any('region does the text "' in text for text in texts)
    assert texts == list(mixture_texts(mixture, 5, seed=0)) != list(mixture_texts(mixture, 5, seed=1))


def test_a_text_model_is_the_same_each_time_and_encodes_anything(mixture, tmp_path):
    (tmp_path / "words.txt").write_text("zebra\nzebras\nstripes\n" * 3)
    paths = [
        train_text(mixture, tmp_path / name, 340, 20, words=tmp_path / "words.txt") for name in ("a", "b")
    ]
    assert [p.name for p in paths] == ["text.model", "text.model"]
    first, second = (hashlib.sha256(p.read_bytes()).digest() for p in paths)
    assert first == second
    model = load_sentencepiece(paths[0])  # checks pad, end, unknown
    assert model.get_piece_size() == 340
    assert [model.id_to_piece(i) for i in model.encode("12")] == ["▁", "1", "2"]
    for text in ("Which region", "東京 ñ </s>"):
        assert model.unk_id() not in model.encode(text) and model.decode(model.encode(text)) == text


def test_too_many_pieces_or_no_words_are_user_errors(mixture, tmp_path):
    with pytest.raises(UserError, match="take fewer pieces"):
        train_text(mixture, tmp_path, 30000, 2)
    with pytest.raises(UserError, match="word list"):
        train_text(mixture, tmp_path, 340, 2, words=tmp_path / "none.txt")


# ------------------------------------------------------------------------------- images


def test_the_pool_holds_each_kind_and_depends_on_the_seed_alone(config):
    training = read_training_config(config, ["images=40"])
    pool = collect_images(training)
    assert pool.shape == (40, 16, 16, 3) and pool.dtype == np.uint8
    assert np.array_equal(pool, collect_images(training))
    assert not np.array_equal(pool, collect_images(read_training_config(config, ["images=40", "seed=1"])))
    grey = (pool == pool[..., :1]).all((1, 2, 3))
    flat = (pool[:, :2, :2].reshape(40, -1) == 0).all(1)
    assert grey.any() and (~grey & flat).any() and (~grey & ~flat).any()  # depth, classes, pictures


def test_an_image_tokenizer_learns_through_all_stages_and_loads_exactly(config, tmp_path, capsys):
    path = train_image(config, tmp_path / "out", ["threads=1"])
    said = capsys.readouterr().out
    assert "step 24/24" in said and "usage" in said and "critic" in said
    model = VQModel.load(config, path)
    pixels = collect_images(read_training_config(config, ["images=8"]))
    codes = model.encode(pixels)
    assert codes.shape == (8, 64) and len(codes.unique()) > 4
    assert all(torch.equal(v, v.bfloat16().float()) for v in model.state_dict().values())


def test_each_stage_improves_held_out_images(config):
    training = read_training_config(
        config, ["steps=40", "codebook_start=20", "discriminator=null", "images=160"]
    )
    pool = collect_images(training)
    torch.manual_seed(0)
    trainer = ImageTrainer(VQConfig.load(config), training, pool)
    before = trainer.check_psnr()
    out = config.parent / "w.safetensors"
    trainer.run(out)
    assert trainer.codebook is not None
    assert trainer.check_psnr() > before + 3
    again = read_training_config(config, [f"start_from={out}", "codebook_start=0", "discriminator=null"])
    resumed = ImageTrainer(VQConfig.load(config), again, pool)
    resumed._seed_codebook(0, keep=True)
    assert abs(resumed.check_psnr() - trainer.check_psnr()) < 0.5  # bfloat16 on the way


def test_crops_are_the_busiest_and_cost_no_more(config):
    training = read_training_config(config)
    pool = np.zeros((8, 16, 16, 3), np.uint8)
    pool[:, :8, :8] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    trainer = ImageTrainer(VQConfig.load(config), training, pool)
    crops = trainer._batch(0)
    assert crops.shape == (32, 3, 8, 8) and crops.is_contiguous()
    assert trainer._batch(6).shape == (8, 3, 16, 16)
    assert (crops.flatten(1).std(1) > 0.05).float().mean() > 0.8


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("step=3", "did you mean 'steps'"),
        ("steps", "key=value"),
        ("steps=0", "training.steps"),
        ("steps.x=1", "holds no keys"),
        ("discriminator.wait=3", "training.discriminator.wait"),
    ],
)
def test_wrong_overrides_say_what_is_wrong(override, said, config):
    with pytest.raises(UserError, match=said):
        read_training_config(config, [override])


def test_a_config_without_training_is_refused(config):
    config.write_text(config.read_text().split("training:")[0])
    with pytest.raises(UserError, match="no `training` section"):
        read_training_config(config)


def test_overrides_reach_nested_keys(config):
    training = read_training_config(config, ["discriminator.weight=0.5", "crop=null"])
    assert isinstance(training, ImageTrainingConfig)
    assert (
        training.discriminator.weight == 0.5 and training.discriminator.start == 20 and training.crop is None
    )


# --------------------------------------------------------------------------------- muon


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_orthogonalised_keeps_directions_and_evens_out_sizes(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    out = orthogonalised(matrix)
    assert torch.linalg.svdvals(out).sub(1).abs().max() < 0.35
    assert torch.nn.functional.cosine_similarity(out.flatten(), (u @ vh).flatten(), dim=0) > 0.97


def test_a_muon_step_has_the_size_of_its_rate():
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.zeros(16, 4, 3, 3))
    optimiser = Muon([kernel], lr=0.1)
    (kernel * torch.randn_like(kernel) * 1e3).sum().backward()
    optimiser.step()
    assert torch.linalg.svdvals(kernel.detach().flatten(1)).max() == pytest.approx(0.1, rel=0.35)

import shutil

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

from unified.specs.paths import resource
from unified.tokenization.vqgan import VQConfig, VQModel

VQGAN = {
    "embed_dim": 8, "n_embed": 64,
    "ddconfig": {
        "double_z": False, "z_channels": 16, "resolution": 16, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer_set(tmp_path_factory):
    """The shipped toy text model with a random VQGAN of 64 codes, 4 x 4 an image."""
    folder = tmp_path_factory.mktemp("set")
    shutil.copy(resource("tokenizers") / "toy" / "text.model", folder)
    yaml = YAML(typ="safe", pure=True)
    yaml.dump({"model": {"target": "taming.models.vqgan.VQModel", "params": VQGAN}}, folder / "vqgan.yaml")
    torch.manual_seed(0)
    save_file(VQModel(VQConfig.load(folder / "vqgan.yaml")).state_dict(), folder / "vqgan.safetensors")
    config = yaml.load((resource("tokenizers") / "toy" / "tokenizer.yaml").read_text())
    config |= {"tokenizers": "tiny", "image": {**config["image"], "codes": 64, "size": 16, "input_size": 32}}
    yaml.dump(config, folder / "tokenizer.yaml")
    return folder


@pytest.fixture(scope="session")
def run_config(tokenizer_set):
    """A run of a tiny model on toybox tasks of several kinds, as plain data."""
    shape = {
        "d_model": 32, "num_heads": 2, "head_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "d_ff": 48,
        "image_size": 32, "target_grid": 4, "dropout": 0.1,
    }  # fmt: skip
    return {
        "run": "runs/x",
        "model": {"size": "toy", "overrides": shape},
        "tokenizer": str(tokenizer_set),
        "tasks": ["toybox_vqa_count", "toybox_refer", "toybox_depth", "toybox_paraphrase"],
        "data": {"batch_size": 8, "workers": 1},
        "optim": {"lr": 0.01, "steps": 30, "warmup_steps": 3},
        "checkpoint": {"every_steps": 4, "keep": 2},
        "ema": 0.9,
        "log_every": 1,
    }

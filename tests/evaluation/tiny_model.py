"""A model folder as a run exports it: random weights of a tiny model, a tiny tokenizer set, toybox tasks."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

from unified.evaluation.model_folder import build_processor
from unified.model import UnifiedConfig, UnifiedModel
from unified.specs.load import list_tasks, load_task
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.tokenization.vqgan import VQConfig, VQModel
from unified.training.config import RunConfig
from unified.training.export import export

TASKS = (
    "caption", "choice", "classify_shape", "depth", "detect", "edit", "grounded_caption", "keypoints", "mood",
    "normals", "pair_statement", "paraphrase", "point", "refer", "refer_mask", "segmentation_shape",
    "vqa_count",
)  # fmt: skip
"""One toybox task of every kind of answer, of two images, of none, with fixed options and with a row's."""
PIECES = 400
LOCATIONS = {"start": PIECES, "count": 1000}
TEXT_SIZE = PIECES + 1001


def tiny_set(folder):
    """A tokenizer set: sentencepiece on the tasks' own words, a random VQGAN of 64 codes, 4 x 4 an image."""
    folder.mkdir(parents=True)
    model = io.BytesIO()
    texts = [p.read_text() for p in list_tasks() if "toybox" in p.parts]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter("\n".join(texts).splitlines()), model_writer=model, vocab_size=PIECES,
        byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False,
        model_type="bpe",
    )  # fmt: skip
    (folder / "text.model").write_bytes(model.getvalue())
    network = {
        "double_z": False, "z_channels": 16, "resolution": 16, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    params = {"embed_dim": 8, "n_embed": 64, "ddconfig": network}
    yaml = YAML(typ="safe", pure=True)
    yaml.dump({"model": {"target": "taming.models.vqgan.VQModel", "params": params}}, folder / "vqgan.yaml")
    torch.manual_seed(0)
    save_file(VQModel(VQConfig.load(folder / "vqgan.yaml")).state_dict(), folder / "vqgan.safetensors")
    yaml.dump(
        {
            "tokenizers": "tiny", "version": 1, "text": {"model": "text.model"},
            "layout": {"pieces": PIECES, "location": LOCATIONS, "text_size": TEXT_SIZE},
            "locations": {"order": "xy", "rounding": "nearest"},
            "image": {"config": "vqgan.yaml", "weights": "vqgan.safetensors", "codes": 64, "size": 16,
                      "input_size": 32},
        },
        folder / "tokenizer.yaml",
    )  # fmt: skip
    return TokenizerSet.load(folder)


def tiny_config(**changes):
    return UnifiedConfig(
        **{
            "vocab_size": TEXT_SIZE, "image_vocab_size": 64, "d_model": 32, "num_heads": 2, "head_dim": 16,
            "encoder_layers": 2, "decoder_layers": 2, "d_ff": 48, "image_size": 32, "patch_size": 8,
            "target_grid": 4, "encoder_max_text_length": 128, "decoder_max_text_length": 64, "max_images": 4,
            **changes,
        }
    )  # fmt: skip


def write_run(run: Path, tokenizers) -> Path:
    """A run folder whose `model/` holds all of TASKS."""
    torch.manual_seed(0)
    model = UnifiedModel(tiny_config())
    build_processor(model.config, tokenizers)  # they fit together
    config = RunConfig.model_validate(
        {"run": str(run), "tasks": list(TASKS), "data": {"batch_size": 1}, "optim": {"lr": 1.0, "steps": 1}}
    )
    tasks = [load_task(f"toybox_{name}") for name in TASKS]
    export(model.state_dict(), model, tokenizers, tasks, config, step=0, command=["train.py", "x.yaml"])
    return run

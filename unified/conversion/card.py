"""The README.md of a converted model: what it is, what it was made of, and by which command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unified.conversion.architecture import Architecture
from unified.specs.load import LoadedTask
from unified.tokenization.tokenizer_set import TokenizerSet

REPOSITORY = "https://github.com/allenai/unified-io-inference"


def model_card(
    of: Architecture,
    source: Path,
    sha256: str,
    command: str,
    tokenizers: TokenizerSet | None,
    tasks: Sequence[LoadedTask],
    parameters: int,
) -> str:
    """Markdown, with the front matter of the hub. `parameters`: of the whole checkpoint, VQGAN included."""
    shape = of.model
    what = f"the official size `{of.size}`" if of.size else "the official architecture in a size of its own"
    lines = [
        "---",
        "library_name: unified",
        "tags: [unified, unified-io]",
        "---",
        "",
        f"# Unified-IO, {source.stem}",
        "",
        f"Unified-IO ([paper](https://arxiv.org/abs/2206.08916), [code]({REPOSITORY})) in PyTorch: {what}, "
        f"{parameters:,} parameters with its VQGAN (d_model {shape.d_model}, {shape.encoder_layers} + "
        f"{shape.decoder_layers} layers, images of {shape.image_size} px in, of "
        f"{shape.target_grid * of.vqgan.factor} px out). Nothing was trained: these are the numbers of the "
        "checkpoint file below under other names.",
        "",
        f"- made from: `{source.name}`, {source.stat().st_size:,} bytes, sha256 `{sha256}`",
        f"- by: `{command}`" if command else "- by: `unified.conversion`",
        "- back: `unified convert <this folder> FILE.bin --to unified-io` gives the same bytes",
        "",
        "## Licence",
        "",
        f"The official checkpoints are linked in the README of {REPOSITORY}, a repository under the Apache "
        "License 2.0, and hold the VQGAN `vqgan_imagenet_f16_16384` of taming-transformers (MIT License). "
        "Whether this file is one of them was not checked.",
        *(["The text tokenizer is T5's (Apache License 2.0)."] if tokenizers else []),
        "",
        "## Use",
        "",
    ]
    if tokenizers is None:
        lines += [
            f"Its vocabulary ({shape.vocab_size} + {shape.image_vocab_size} ids) is not the official one: "
            "there is no text tokenizer for it, and `tokenizer/` holds the VQGAN alone. Load the model by",
            "",
            "    unified.model.UnifiedModel.from_pretrained(<this folder>)",
            "",
        ]
        return "\n".join(lines)
    lines += [
        '    unified prompt <this folder> "What does the image describe ?" --image PICTURE',
        "",
        f"The tokenizer set is {tokenizers.name} ({tokenizers.hash[:12]}). The tasks are in `tasks/`:",
        "",
        *(f"- `{task.identity}` {task.spec.description}".rstrip() for task in tasks),
        "",
    ]
    return "\n".join(lines)

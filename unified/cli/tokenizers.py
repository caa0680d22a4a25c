"""`unified tokenizers`: train the tokenizers of a set."""

from __future__ import annotations

import argparse
from pathlib import Path

from unified.cli.parsing import Commands, command, group, positive


def add(commands: Commands) -> None:
    tokenizers = group(commands, "tokenizers", "train the tokenizers of a set")
    p = command(tokenizers, "train-text", train_text, "sentencepiece on prompts and targets of a mixture")
    p.add_argument("mixture", help="mixture name or path of a YAML file")
    p.add_argument("--out", required=True, help="folder of the tokenizer set; text.model is written there")
    p.add_argument("--vocab-size", type=positive, default=2048, help="pieces (default: %(default)s)")
    p.add_argument(
        "--rows", type=positive, default=200, help="rows read from each task (default: %(default)s)"
    )
    p.add_argument("--words", help="file of further words, one a line, for texts that the tasks do not have")
    p = command(tokenizers, "train-image", train_image, "a VQGAN on the images of a mixture")
    p.add_argument("config", help="e.g. tokenizers/toy/vqgan.yaml")
    p.add_argument(
        "--out", required=True, help="folder of the tokenizer set; vqgan.safetensors is written there"
    )
    p.add_argument("overrides", nargs="*", metavar="key=value", help="changes to `training`, e.g. steps=100")


def train_text(args: argparse.Namespace) -> int:
    from unified.tokenization.train_text import train_text as train

    path = train(args.mixture, Path(args.out), vocab_size=args.vocab_size, n_rows=args.rows, words=args.words)
    print(f"wrote {path}")
    return 0


def train_image(args: argparse.Namespace) -> int:
    from unified.tokenization.train_image import train_image as train

    print(f"wrote {train(Path(args.config), Path(args.out), args.overrides)}")
    return 0

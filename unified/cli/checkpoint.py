"""`unified checkpoint`: what a checkpoint holds, its weights as a model folder, its universal form."""

from __future__ import annotations

import argparse
from pathlib import Path

from unified.cli.parsing import Commands, command, group
from unified.errors import UserError


def add(commands: Commands) -> None:
    checkpoint = group(commands, "checkpoint", "what a run's checkpoints hold; their weights as a model")
    p = command(checkpoint, "info", checkpoint_info, "step, ranks, tasks and size of a checkpoint")
    p.add_argument("checkpoint", help="its folder, or that of a run, whose newest one is taken")
    p = command(checkpoint, "export", checkpoint_export, "its weights as a model folder")
    p.add_argument("checkpoint", help="its folder, or that of a run, whose newest one is taken")
    p.add_argument("--out", metavar="RUN", help="folder to write model/ into (default: that of its run)")
    p = command(checkpoint, "convert", checkpoint_convert, "DeepSpeed's universal form, for other programs")
    p.add_argument("checkpoint", help="its folder, or that of a run, whose newest one is taken")
    p.add_argument("--out", metavar="FOLDER", required=True, help="new folder to write")


def checkpoint_info(args: argparse.Namespace) -> int:
    from unified.training.checkpoints import Meta

    path = _find(args.checkpoint)
    meta = Meta.load(path)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    shape, examples = meta.model, meta.step * meta.batch_size
    layers = f"{shape['encoder_layers']} + {shape['decoder_layers']} layers"
    lines = [
        ("checkpoint", str(path)),
        ("step", f"{meta.step:,}, {examples:,} examples, {meta.seconds / 60:.1f} minutes"),
        ("written by", f"{meta.world} rank(s), engine.zero={meta.zero}, {meta.precision}, {meta.optimizer}"),
        ("seed", str(meta.seed)),
        ("model", f"d_model {shape['d_model']}, {layers}"),
        ("tokenizers", meta.tokenizer[:12]),
        ("size", f"{size / 2**20:,.1f} MiB"),
    ]
    print("\n".join(f"{name:11} {value}" for name, value in lines))
    print(f"{'tasks':11} rows, share of the examples")
    for name, identity in meta.tasks.items():
        print(f"  {identity}: {meta.rows[name]:,}, {meta.rates[name]:.3%}")
    return 0


def checkpoint_export(args: argparse.Namespace) -> int:
    from unified.model import UnifiedConfig, UnifiedModel
    from unified.training import setup
    from unified.training.checkpoints import Meta, weights_of
    from unified.training.config import RunConfig
    from unified.training.export import export

    path = _find(args.checkpoint)
    meta = Meta.load(path)
    config = RunConfig.model_validate(meta.config)
    if args.out is not None:
        config = config.model_copy(update={"run": args.out})
    model = UnifiedModel(UnifiedConfig(**meta.model))
    tokenizers = setup.load_tokenizers(config)
    if tokenizers.hash != meta.tokenizer:
        raise UserError(
            f"{path}: was trained with the tokenizer set {meta.tokenizer[:12]}, and '{config.tokenizer}' is "
            f"{tokenizers.hash[:12]} now: its ids mean other things"
        )
    tasks = [entry.task for entry in setup.load_tasks(config).entries]
    folder = export(
        weights_of(path, model), model, tokenizers, tasks, config, step=meta.step,
        command=["unified", "checkpoint", "export", str(args.checkpoint)],
    )  # fmt: skip
    print(f"the weights of step {meta.step:,} are in {folder}")
    return 0


def checkpoint_convert(args: argparse.Namespace) -> int:
    from unified.training.checkpoints import Meta, write_universal

    path, out = _find(args.checkpoint), Path(args.out).expanduser()
    if Meta.load(path).zero == 0:
        raise UserError(
            f"{path}: was written at engine.zero=0: each rank has the whole state, so any number of ranks "
            "can continue it as it is"
        )
    if out.exists():
        raise UserError(f"--out {out}: is there already; name a new folder")
    write_universal(path, out)
    print(f"DeepSpeed's universal form of {path.name} is in {out}")
    return 0


def _find(given: str) -> Path:
    """The checkpoint at a path, or the newest of a run."""
    from unified.training.checkpoints import find_checkpoint

    found = find_checkpoint(given, Path(given))
    assert found is not None  # a path, never `auto` or `none`
    return found

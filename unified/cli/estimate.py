"""`unified estimate`: memory per GPU of a run, for sizes of the model, ZeRO stages and micro-batches."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from unified.cli.parsing import Commands, command, positive, positives
from unified.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from unified.model.configuration import UnifiedConfig
    from unified.training.config import RunConfig
    from unified.training.memory import MicroBatch

ZERO = (0, 1, 2, 3)
EXAMPLES = """\
examples:
  unified estimate configs/small.yaml --gpus 8
  unified estimate small engine.zero=2 --sizes large,xl --micro-batch 4,16 --gpus 64
  unified estimate small --encoder 512 --decoder 64 --json
"""


def add(commands: Commands) -> None:
    p = command(commands, "estimate", estimate, "memory per GPU of a run, by size and ZeRO stage", EXAMPLES)
    p.add_argument("config", help="of the run: a YAML file, or the name of a shipped one")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="changes to it, e.g. engine.zero=3")
    p.add_argument("--gpus", type=positive, default=8, help="over all hosts (default: %(default)s)")
    p.add_argument("--sizes", metavar="NAME[,..]", help="other models (default: the official sizes)")
    p.add_argument(
        "--micro-batch",
        type=positives,
        metavar="N[,..]",
        help="examples (default: half, once, twice the run's)",
    )
    p.add_argument("--encoder", type=positive, help="positions of an example (default: measured on the data)")
    p.add_argument("--decoder", type=positive, help="likewise")
    p.add_argument(
        "-n", dest="examples", type=positive, default=64, help="examples to measure (default: %(default)s)"
    )
    p.add_argument("--json", action="store_true", help="print all parts, in bytes, as JSON")


def estimate(args: argparse.Namespace) -> int:
    from unified.training import memory, setup
    from unified.training.config import load_config

    if (args.encoder is None) != (args.decoder is None):
        raise UserError("give both of --encoder and --decoder, the positions of an example, or neither")
    config = load_config(args.config, args.overrides)
    if config.engine.precision == "auto":
        config = setup.with_precision(config, "autocast_bf16")  # of the GPUs, not of this machine
    tokenizers = setup.load_tokenizers(config)
    shapes = _shapes(args.sizes, config, tokenizers)
    micro = config.data.micro_batch or max(1, config.data.batch_size // args.gpus)
    batches = sorted(set(args.micro_batch or [max(1, micro // 2), micro, 2 * micro]))
    measured: dict[Any, list[tuple[int, int, int, int]]] = {}
    lines: list[dict[str, Any]] = []
    for name, shape in shapes.items():
        looks = shape.image_size, shape.patch_size, shape.target_grid
        if looks not in measured:
            measured[looks] = (
                [(args.encoder, args.decoder, 0, 0)] * max(batches)
                if args.encoder
                else _measure(config, shape, tokenizers, max(args.examples, *batches))
            )
        for count in batches:
            batch = _fullest(measured[looks], count, config)
            for zero in ZERO:
                if zero == 0 and (config.engine.precision in ("bf16", "fp16") or config.engine.offload):
                    continue
                if zero < 3 and config.engine.offload == "all":
                    continue
                made = memory.estimate(
                    shape,
                    batch,
                    config.engine.model_copy(update={"zero": zero}),
                    optimizer=config.optim.name,
                    ema=config.ema is not None,
                    world=args.gpus,
                    attention="fused",
                )
                weights = memory.weights_of(shape.to_json_string()).total
                lines.append(
                    {"model": name, "parameters": weights, "micro_batch": count, "zero": zero}
                    | asdict(batch)
                    | asdict(made)
                    | {"total": made.total}
                )
    print(json.dumps(lines, indent=1) if args.json else _table(lines, config, args.gpus))
    return 0


def _shapes(sizes: str | None, config: RunConfig, tokenizers: Any) -> dict[str, UnifiedConfig]:
    """The run's own model, then the wanted sizes with its vocabulary."""
    from unified.model.configuration import SIZES, UnifiedConfig
    from unified.training import setup

    wanted = [name for name in SIZES if name != "toy"] if sizes is None else sizes.split(",")
    for name in wanted:
        if name not in SIZES:
            raise UserError(f"--sizes {name}: unknown size{did_you_mean(name, list(SIZES))}; there are "
                            f"{', '.join(SIZES)}")  # fmt: skip
    vocabulary = tokenizers.vocabulary
    ids = {"vocab_size": vocabulary.text_size, "image_vocab_size": vocabulary.image_size}
    own = {"this run": setup.model_shape(config, tokenizers)}
    return own | {name: UnifiedConfig.of_size(name, **ids) for name in wanted}


def _measure(
    config: RunConfig, shape: UnifiedConfig, tokenizers: Any, examples: int
) -> list[tuple[int, int, int, int]]:
    """Positions of the run's first examples in encoder and decoder, and how many are of pictures."""
    from unified.data.dataset import MixtureDataset, open_tasks
    from unified.data.mixture import rates
    from unified.data.order import MixtureOrder
    from unified.data.packing import lengths
    from unified.evaluation.model_folder import build_processor
    from unified.training import setup

    mixture = setup.load_tasks(config)
    tasks = open_tasks(mixture, "train")
    rows = {data.task.name: setup.rows_to_learn(data, config.data.overfit) for data in tasks}
    shares = rates(mixture, rows)
    order = MixtureOrder(config.seed, [(name, rows[name], shares[name]) for name in rows])
    dataset = MixtureDataset(tasks, order, build_processor(shape, tokenizers), patches=config.data.patches)
    found = []
    for i in range(examples):
        example = dataset[i][0]
        codes = 0 if example.target_code_mask is None else int(example.target_code_mask.sum())
        found.append((*lengths(example), int(example.patch_mask.sum()), codes))
    return found


def _fullest(sizes: list[tuple[int, int, int, int]], count: int, config: RunConfig) -> MicroBatch:
    """The micro-batch of `count` consecutive examples that has the most positions."""
    from unified.data.packing import pack
    from unified.training.memory import MicroBatch

    made = []
    for start in range(0, len(sizes) - count + 1, count):
        part = sizes[start : start + count]
        rows = [[i] for i in range(count)]
        if config.data.packing is not None:
            budget = config.data.packing
            rows = pack([size[:2] for size in part], budget.encoder, budget.decoder).rows
        encoder, decoder = (max(sum(part[i][side] for i in row) for row in rows) for side in (0, 1))
        cells, codes = (sum(size[side] for size in part) for side in (2, 3))
        made.append(MicroBatch(len(rows), encoder, decoder, cells, codes))
    return max(made, key=lambda batch: batch.rows * (batch.encoder + batch.decoder))


def _table(lines: list[dict[str, Any]], config: RunConfig, gpus: int) -> str:
    from unified.training.memory import size_text

    kinds = [config.engine.precision, f"{gpus} GPU(s)"]
    kinds += ["recomputed activations"] * config.engine.activation_checkpointing
    kinds += [f"{config.engine.offload} offloaded"] * (config.engine.offload is not None)
    out = [f"memory of one GPU: {', '.join(kinds)}", ""]
    heads = "".join(f"{f'zero {zero}':>12}" for zero in ZERO)
    out.append(f"{'model':10}{'parameters':>15}{'micro-batch':>12}  {'rows':22}{heads}")
    by_line: dict[tuple[Any, ...], dict[int, str]] = {}
    for line in lines:
        rows = f"{line['rows']} x {line['encoder']}+{line['decoder']}"
        key = line["model"], line["parameters"], line["micro_batch"], rows
        by_line.setdefault(key, {})[line["zero"]] = size_text(line["total"])
    for (model, parameters, count, rows), totals in by_line.items():
        cells = "".join(f"{totals.get(zero, '-'):>12}" for zero in ZERO)
        out.append(f"{model:10}{parameters:>15,}{count:>12}  {rows:22}{cells}")
    own = [line for line in lines if line["model"] == "this run" and line["zero"] == config.engine.zero]
    parts = ("weights", "gradients", "optimizer", "mean", "buffers", "activations")
    for line in own:
        listed = ", ".join(f"{part} {size_text(line[part])}" for part in parts if line[part])
        out += ["", f"this run, zero {config.engine.zero}, micro-batch {line['micro_batch']}: {listed}"]
    out += ["", "CUDA and torch's allocator take about 1 GiB more, the image tokenizer its weights."]
    return "\n".join(out)

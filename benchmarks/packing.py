"""Training on packed rows against one example a row: the same examples, model and loss, in turns.

    python benchmarks/packing.py [CONFIG] [--steps 12] [key=value ...]

Prints for both the share of positions that are not padding, useful tokens a second (padding not counted) of
forward and backward, and their ratio. CONFIG is a run's (default: demo, over the whole toybox); its
`data.packing` or, without one, what `unified mixture lengths` suggests is used.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from unified.data.collate import collate, collate_packed
from unified.data.dataset import MixtureDataset, open_tasks
from unified.data.lengths import budgets, measure, suggested
from unified.data.mixture import rates
from unified.data.order import MixtureOrder
from unified.data.packing import lengths, pack
from unified.devices import uses_bf16
from unified.evaluation.model_folder import build_processor
from unified.objectives.base import build_objective
from unified.training import setup
from unified.training.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config", nargs="?", default="demo")
    parser.add_argument("overrides", nargs="*", default=["mixture=toybox"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    bf16 = uses_bf16(config.engine.precision, args.device)
    mixture, tokenizers = setup.load_tasks(config), setup.load_tokenizers(config)
    tasks = open_tasks(mixture, "train")
    rows = {data.task.name: len(data.source) for data in tasks}
    shares = rates(mixture, rows)
    order = MixtureOrder(config.seed, [(name, rows[name], shares[name]) for name in rows])
    model = setup.build_model(config, tokenizers).to(args.device).train()
    dataset = MixtureDataset(tasks, order, build_processor(model.config, tokenizers))
    micro_batch = config.data.micro_batch or config.data.batch_size
    given = config.data.packing
    if given is None:
        found = suggested(budgets(measure(dataset, max(512, micro_batch)).sizes, micro_batch))
        budget = (found.encoder, found.decoder)
    else:
        budget = (given.encoder, given.decoder)

    objective = build_objective("seq2seq", list(rows))
    seconds: dict[str, list[float]] = {"padded": [], "packed": []}
    places = {"padded": 0, "packed": 0}
    tokens = 0
    for step in range(args.steps + 2):
        examples = [dataset[i][0] for i in range(step * micro_batch, (step + 1) * micro_batch)]
        packed = pack([lengths(e) for e in examples], *budget)
        batches = {
            "padded": collate(examples),
            "packed": collate_packed(examples, packed.rows),
        }
        for name, batch in batches.items():
            batch = batch.to(args.device).with_codes(tokenizers.image.to(args.device))
            started = now(args.device)
            with torch.autocast(args.device, torch.bfloat16, enabled=bf16):
                outputs = model(**batch.inputs)
            loss, _, _ = objective(outputs, batch)
            (loss / batch.weight).backward()
            elapsed = now(args.device) - started
            model.zero_grad(set_to_none=True)
            if step >= 2:  # the first ones build kernels
                seconds[name].append(elapsed)
                places[name] += batch.n_places
        if step >= 2:
            tokens += batches["packed"].n_tokens

    print(
        f"{args.config} {' '.join(args.overrides)}: {model.num_parameters():,} parameters, {micro_batch} "
        f"examples at once, {'bf16' if bf16 else 'fp32'}, {args.device}, {torch.get_num_threads()} thread(s)"
    )
    print(f"packed rows of at most {budget[0]} + {budget[1]} positions")
    print(f"{'':8} {'fill':>7} {'useful tokens/s':>16}")
    for name, times in seconds.items():
        print(f"{name:8} {tokens / places[name]:>7.1%} {tokens / sum(times):>16,.0f}")
    ratios = [a / b for a, b in zip(seconds["padded"], seconds["packed"], strict=True)]
    print(f"packed / padded: {sum(seconds['padded']) / sum(seconds['packed']):.2f}x "
          f"(median of steps {statistics.median(ratios):.2f}x)")  # fmt: skip


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()

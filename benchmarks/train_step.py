"""A training step beside Hugging Face's T5 of the same shape, on the same text, in turns.

    python benchmarks/train_step.py                    # base width, bfloat16 products where the CPU has them
    python benchmarks/train_step.py --size small --precision fp32

All are trained as a user would: T5ForConditionalGeneration with labels, padded to the longest text, and this
model padded likewise, and packed. The same examples, AdamW and gradient clipping for all; the tokens that
count are those that are not padding. Also printed: which share of this machine's peak, the rate of a large
matrix product of the same precision, the matrix products of the packed step reach, also with three times the
texts, over which the optimizer's work is spread.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from unified.data.collate import Batch, collate, collate_packed
from unified.data.packing import lengths, pack
from unified.devices import uses_bf16
from unified.model import UnifiedConfig, UnifiedModel
from unified.model.configuration import SIZES
from unified.objectives.base import build_objective
from unified.tokenization.processor import Encoded

VOCABULARY = 33152
"""Ids of the text side of both."""


def examples(count: int, longest: tuple[int, int], seed: int) -> list[Encoded]:
    """Texts of random ids; lengths are log-normal, as those of instructions and answers are."""
    rng = np.random.default_rng(seed)

    def ids(most: int) -> np.ndarray:
        length = int(np.clip(rng.lognormal(np.log(most / 4), 0.7), 4, most))
        return np.append(rng.integers(3, VOCABULARY - 1, length - 1), 1)

    nothing, unseen = np.zeros((0, 8, 8, 3), dtype=np.float32), np.zeros((0, 1), dtype=bool)
    return [
        Encoded("text", str(i), 1.0, ids(longest[0]), nothing, unseen, ids(longest[1]), None, None)
        for i in range(count)
    ]  # fmt: skip


def ours(size: str, device: str) -> UnifiedModel:
    torch.manual_seed(0)
    shape = {"patch_size": 16, "image_size": 64, "target_grid": 4, "image_vocab_size": 1024}
    config = UnifiedConfig.of_size(size, vocab_size=VOCABULARY, encoder_max_text_length=512,
                                   decoder_max_text_length=512, **shape)  # fmt: skip
    return UnifiedModel(config).to(device).train()


def theirs(size: str, device: str) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    shape = SIZES[size]
    config = T5Config(
        vocab_size=VOCABULARY, d_model=shape["d_model"], d_kv=64, d_ff=shape["d_ff"],
        num_layers=shape["encoder_layers"], num_decoder_layers=shape["decoder_layers"],
        num_heads=shape["num_heads"], feed_forward_proj="gated-gelu", dropout_rate=0.0,
        decoder_start_token_id=0, use_cache=False,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).to(device).train()


class Ours:
    def __init__(self, model: UnifiedModel, packed: bool) -> None:
        self.model, self.packed = model, packed
        self.objective = build_objective("seq2seq", ["text"])

    def batch(self, given: list[Encoded], device: str) -> Batch:
        if not self.packed:
            return collate(given).to(device)
        budget = max(int(e.input_ids.size) for e in given) * 2, max(int(e.target_ids.size) for e in given) * 2
        return collate_packed(given, pack([lengths(e) for e in given], *budget).rows).to(device)

    def loss(self, batch: Batch) -> Tensor:
        total, _, _ = self.objective(self.model(**batch.inputs), batch, None)
        return total / batch.weight


class Theirs:
    def __init__(self, size: str, device: str) -> None:
        self.model = theirs(size, device)

    def batch(self, given: list[Encoded], device: str) -> Batch:
        return collate(given).to(device)

    def loss(self, batch: Batch) -> Tensor:
        ids, labels = batch.inputs["input_ids"], batch.inputs["target_ids"]
        out = self.model(
            input_ids=ids, attention_mask=(ids != 0).long(), labels=labels.masked_fill(labels == 0, -100)
        )
        loss: Tensor = out.loss
        return loss


def peak(bf16: bool, device: str) -> float:
    """Operations a second of a large matrix product, the best of several."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    side = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(8):
        started = now(device)
        a @ b
        best = max(best, 2 * side**3 / (now(device) - started))
    return best


def products(model: UnifiedModel, batch: Batch) -> float:
    """Operations of the matrix products of a step (forward and twice that backward): layers over the places
    of the rows, logits over the target ids. Attention over the pairs of an example is left out."""
    config = model.config
    inner = config.num_heads * config.head_dim
    own, mlp = 4 * config.d_model * inner, 3 * config.d_model * config.d_ff
    encoder, decoder = (batch.inputs[f"{side}_layout"].numel() for side in ("encoder", "decoder"))
    layers = config.encoder_layers * encoder * (own + mlp)
    layers += config.decoder_layers * (decoder * (own + mlp + own // 2) + encoder * own // 2)
    logits = int((batch.inputs["target_ids"] != 0).sum()) * config.d_model * config.vocab_size
    return 3 * 2.0 * (layers + logits)


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def step(
    run: Ours | Theirs, batch: Batch, optimizer: torch.optim.Optimizer, bf16: bool, device: str
) -> float:
    started = now(device)
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        loss = run.loss(batch)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return now(device) - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="base", choices=[name for name in SIZES if name != "toy"])
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--longest", type=int, nargs=2, default=(256, 128), metavar=("IN", "OUT"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    bf16 = uses_bf16(args.precision, args.device)
    model = ours(args.size, args.device)
    runs: dict[str, Ours | Theirs] = {
        "unified, packed": Ours(model, packed=True),
        "unified, padded": Ours(model, packed=False),
        "T5": Theirs(args.size, args.device),
    }
    optimizers = {
        which: torch.optim.AdamW(which.parameters(), 1e-4, fused=True)
        for which in {run.model for run in runs.values()}
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    longest, tokens = tuple(args.longest), 0
    for n in range(args.steps + 1):
        given = examples(args.examples, longest, seed=n)
        for name, run in runs.items():
            batch = run.batch(given, args.device)
            elapsed = step(run, batch, optimizers[run.model], bf16, args.device)
            if n:  # the first builds kernels
                seconds[name].append(elapsed)
                if isinstance(run, Ours) and run.packed:
                    tokens += batch.n_tokens
    print(f"{args.size}, {args.examples} texts of up to {args.longest[0]} + {args.longest[1]} tokens, "
          f"{'bf16' if bf16 else 'fp32'}, {args.device}, {torch.get_num_threads()} thread(s)")  # fmt: skip
    for name, run in runs.items():
        count = sum(p.numel() for p in run.model.parameters())
        print(f"{name:16} {count:>13,} parameters {tokens / sum(seconds[name]):>9,.0f} tokens/s "
              f"{sum(seconds['T5']) / sum(seconds[name]):>6.2f}x T5")  # fmt: skip
    del run, runs["T5"], optimizers  # their memory is needed
    best = peak(bf16, args.device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    packed = Ours(model, packed=True)
    for count in (args.examples, 3 * args.examples):
        taken = work = 0.0
        for n in range(args.steps + 1):
            batch = packed.batch(examples(count, longest, seed=n), args.device)
            elapsed = step(packed, batch, optimizer, bf16, args.device)
            taken, work = (taken + elapsed, work + products(model, batch)) if n else (0.0, 0.0)
        share = work / taken / best
        print(f"{count} texts, packed: matrix products at {share:.0%} of the peak, {best / 1e9:,.0f} Gop/s")


if __name__ == "__main__":
    main()

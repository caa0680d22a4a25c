"""Decoding speed: tokens/s of UnifiedModel beside Hugging Face's T5ForConditionalGeneration of the same
layers, width, heads, vocabulary and encoder length, both greedy through `generate`, in turns in one run.

    python benchmarks/decode.py                    # size small, float32
    python benchmarks/decode.py --size base --dtype bfloat16 --repeats 5

Each line is the median over the repeats. The encoder is not timed: its output has the
positions of a prompt of 32 tokens and one image of 384 pixels (608), or, in the last lines, of the prompt
alone, since a prompt without an image costs no image positions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from unified.model import EncoderOutput, UnifiedConfig, UnifiedModel

PROMPT = 32
CASES = (("text", 1, 32), ("text", 16, 32), ("image codes", 1, 256), ("image codes", 8, 256))


def t5_of(config: UnifiedConfig) -> T5ForConditionalGeneration:
    """T5 1.1 with the same blocks and as many logits."""
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=config.total_vocab_size, d_model=config.d_model, d_kv=config.head_dim,
            num_heads=config.num_heads, d_ff=config.d_ff, num_layers=config.encoder_layers,
            num_decoder_layers=config.decoder_layers, feed_forward_proj="gated-gelu",
            dropout_rate=0.0, decoder_start_token_id=0,
        )
    ).eval()  # fmt: skip


def ours(model: UnifiedModel, kind: str, batch: int, steps: int, positions: int) -> Callable[[], int]:
    config = model.config
    encoded = EncoderOutput(
        last_hidden_state=torch.randn(batch, positions, config.d_model, dtype=model.dtype),
        segments=torch.ones(batch, positions, dtype=torch.long),
    )
    start = [config.decoder_start_token_id] + [config.image_start_id] * (kind == "image codes")
    ids = torch.tensor([start] * batch)

    def run() -> int:
        out = model.generate(
            encoder_outputs=encoded, decoder_input_ids=ids, max_new_tokens=steps, eos_token_id=None
        )
        return out.shape[1] - len(start)

    return run


def theirs(model: T5ForConditionalGeneration, batch: int, steps: int, positions: int) -> Callable[[], int]:
    hidden = torch.randn(batch, positions, model.config.d_model, dtype=model.dtype)
    mask = torch.ones(batch, positions, dtype=torch.long)

    def run() -> int:
        out = model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden), attention_mask=mask,
            max_new_tokens=steps, min_new_tokens=steps, do_sample=False,
        )  # fmt: skip
        return out.shape[1] - 1

    return run


def timed(run: Callable[[], int], steps: int) -> float:
    """Seconds of a run, which must have made all of its tokens."""
    started = time.perf_counter()
    made = run()
    seconds = time.perf_counter() - started
    if made != steps:
        raise RuntimeError(f"{made} tokens instead of {steps}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Decoding speed beside Hugging Face's T5 of the same shape.")
    parser.add_argument("--size", default="small")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    config = UnifiedConfig.of_size(args.size)
    dtype = getattr(torch, args.dtype)
    model, t5 = UnifiedModel(config).eval().to(dtype), t5_of(config).to(dtype)
    model.prepare_for_decoding()  # as `unified.pipeline` does
    print(
        f"size {args.size}, {args.dtype}, {torch.get_num_threads()} threads, greedy, median of {args.repeats}"
    )
    print(f"{'':28}{'encoder':>8}{'unified':>12}{'T5':>12}{'ratio':>8}")
    for positions in (PROMPT + config.image_tokens, PROMPT):
        for kind, batch, steps in CASES:
            if positions == PROMPT and kind != "text":
                continue
            runs = ours(model, kind, batch, steps, positions), theirs(t5, batch, steps, positions)
            for run in runs:
                timed(run, steps)
            seconds = [[timed(run, steps) for run in runs] for _ in range(args.repeats)]
            mine, t5s = (batch * steps / statistics.median(s) for s in zip(*seconds, strict=True))
            name = f"{steps} {kind}, batch {batch}"
            print(f"{name:28}{positions:>8}{mine:>8.0f} t/s{t5s:>8.0f} t/s{mine / t5s:>8.2f}", flush=True)


if __name__ == "__main__":
    main()

"""A tiny model and examples of every make-up, alone or packed into one row."""

import torch
import torch.nn.functional as F

from unified.model import UnifiedConfig, UnifiedModel

PATCHES, CODES = 4, 9


def config(**changes):
    return UnifiedConfig(
        **{
            "vocab_size": 40,
            "image_vocab_size": 11,
            "d_model": 24,
            "num_heads": 3,
            "head_dim": 6,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "d_ff": 20,
            "image_size": 8,
            "patch_size": 4,
            "target_grid": 3,
            "encoder_max_text_length": 20,
            "decoder_max_text_length": 16,
        }
        | changes
    )


def model(seed=0, **changes):
    """Seeded, with no weight at its initial zero, so that each of them matters."""
    torch.manual_seed(seed)
    made = UnifiedModel(config(**changes))
    with torch.no_grad():
        for name, p in made.named_parameters():
            if name.startswith("encoder.image_index") or "projection" in name:
                p.copy_(torch.randn_like(p) * 0.3)
            if "query" in name:
                p.mul_(2)
    return made.eval()


def ids(*numbers):
    return torch.tensor([numbers])


def example(words, answer, images=0, code_seed=None, masked_patches=0, masked_codes=0, seed=0):
    """Keyword arguments of `forward` for one example, batch 1, ids without padding."""
    g = torch.Generator().manual_seed(seed)
    out = {"input_ids": ids(*words, 1), "target_ids": ids(*answer, 1)}
    if images:
        out["images"] = torch.randint(0, 256, (1, images, 8, 8, 3), dtype=torch.uint8, generator=g)
        out["patch_mask"] = torch.ones(1, images, PATCHES, dtype=torch.bool)
        out["patch_mask"][..., PATCHES - masked_patches :] = False
    if code_seed is not None:
        out["target_codes"] = torch.randint(
            0, 11, (1, 1, CODES), generator=torch.Generator().manual_seed(code_seed)
        )
        out["target_code_mask"] = torch.ones(1, 1, CODES, dtype=torch.bool)
        out["target_code_mask"][..., CODES - masked_codes :] = False
    return out


EXAMPLES = [
    example([5, 6, 7], [8, 9]),
    example([10, 11], [12], images=1, masked_patches=1, seed=1),
    example([13, 14, 15, 16], [], code_seed=2, masked_codes=2),
    example([17], [18, 19, 20], images=2, code_seed=3, seed=4),
]


def pack(examples, text_padding=2, target_padding=3):
    """All of `examples` in one row, in the arguments that a packed batch has."""
    out = {}

    def text(name, padding):
        rows = [e[f"{name}_ids"][0] for e in examples]
        out[f"{name}_ids"] = F.pad(torch.cat(rows), (0, padding))[None]
        out[f"{name}_segments"] = F.pad(
            torch.cat([torch.full_like(r, i + 1) for i, r in enumerate(rows)]), (0, padding)
        )[None]
        out[f"{name}_positions"] = F.pad(torch.cat([torch.arange(len(r)) for r in rows]), (0, padding))[None]

    text("input", text_padding)
    text("target", target_padding)
    with_images = [(i, e) for i, e in enumerate(examples) if "images" in e]
    if with_images:
        out["images"] = torch.cat([e["images"] for _, e in with_images], 1)
        out["patch_mask"] = torch.cat([e["patch_mask"] for _, e in with_images], 1)
        counts = [(i, e["images"].shape[1]) for i, e in with_images]
        out["image_segments"] = torch.tensor([[i + 1 for i, n in counts for _ in range(n)]])
        out["image_index"] = torch.tensor([[k for _, n in counts for k in range(n)]])
    with_codes = [(i, e) for i, e in enumerate(examples) if "target_codes" in e]
    if with_codes:
        out["target_codes"] = torch.cat([e["target_codes"] for _, e in with_codes], 1)
        out["target_code_mask"] = torch.cat([e["target_code_mask"] for _, e in with_codes], 1)
        out["target_code_segments"] = torch.tensor([[i + 1 for i, _ in with_codes]])
    return out


def losses(made, inputs):
    """Cross-entropies of the text and of the code targets, unreduced, in row-major order."""
    out = made(**inputs)
    text = F.cross_entropy(out.text_logits, inputs["target_ids"][inputs["target_ids"] != 0], reduction="none")
    if out.image_logits is None:
        return text, text.new_zeros(0)
    if "target_codes" not in inputs:  # in training: no rows, but a part of the graph
        return text, out.image_logits.sum(1)
    codes = inputs["target_codes"][inputs["target_code_mask"]]
    return text, F.cross_entropy(out.image_logits, codes, reduction="none")


def gradients(made, loss):
    made.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None}

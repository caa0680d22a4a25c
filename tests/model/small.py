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


def pack(examples, rows=None, padding=2):
    """All of `examples` packed, in the arguments that a packed batch has. rows: the examples of each row;
    default: all in one."""
    rows = [list(range(len(examples)))] if rows is None else rows

    def side(text_name, picture_name, mask_name):
        texts = torch.nn.utils.rnn.pad_sequence([e[text_name][0] for e in examples], batch_first=True)
        counts = [e[mask_name].shape[1] if mask_name in e else 0 for e in examples]
        masks = torch.cat([e[mask_name][0] for e in examples if mask_name in e]) if any(counts) else None
        places = []
        for i, e in enumerate(examples):
            mine = list(range(i * texts.shape[1], i * texts.shape[1] + e[text_name].shape[1]))
            for picture in range(sum(counts[:i]), sum(counts[: i + 1])):
                cells = masks[picture].nonzero()[:, 0] + picture * masks.shape[1] + texts.numel()
                mine += cells.tolist()
            places.append(mine)
        lines = [[place for i in row for place in places[i]] for row in rows]
        longest = max(map(len, lines)) + padding
        out = {text_name: texts}
        if any(counts):
            out[picture_name] = torch.cat([e[picture_name][0] for e in examples if mask_name in e])
            out[mask_name] = masks
        owners = torch.tensor([i for i, n in enumerate(counts) for _ in range(n)])
        return out, owners, torch.tensor([line + [-1] * (longest - len(line)) for line in lines])

    encoder, image_example, encoder_layout = side("input_ids", "images", "patch_mask")
    decoder, code_example, decoder_layout = side("target_ids", "target_codes", "target_code_mask")
    encoder.pop("patch_mask", None)
    out = {**encoder, **decoder, "encoder_layout": encoder_layout, "decoder_layout": decoder_layout}
    if len(image_example):
        out["image_example"] = image_example
    if len(code_example):
        out["code_example"] = code_example
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

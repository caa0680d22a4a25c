"""Makes weights/toy of a finished run of configs/toy.yaml, with the table of its scores in the model card:

    python train.py configs/toy.yaml
    unified eval runs/toy --limit 200                      # and: --split held_out
    python benchmarks/ship_toy.py runs/toy weights/toy

Weights are stored as bfloat16. The tokenizer set is a link to tokenizers/toy, which the model must have used.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from unified.evaluation.model_folder import load_model_folder
from unified.evaluation.results import Results, shown
from unified.tokenization.tokenizer_set import TokenizerSet, require_same

SPLITS = {"validation": "validation", "held_out": "held-out colour-shape pairs"}


def ship(run: Path, out: Path) -> None:
    model = run / "model"
    require_same(TokenizerSet.load(model / "tokenizer").hash, TokenizerSet.load("toy").hash, str(run))
    shutil.rmtree(out, ignore_errors=True)
    (out / "tasks").mkdir(parents=True)
    weights = {k: v.to(torch.bfloat16) for k, v in load_file(model / "model.safetensors").items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "generation_config.json", "run.yaml", "history.json"):
        shutil.copy(model / name, out / name)
    (out / "tokenizer").symlink_to("../../tokenizers/toy")

    index = json.loads((model / "tasks" / "index.json").read_text())
    for entry in index.values():
        shutil.copy(model / "tasks" / entry["file"], out / "tasks" / entry["file"])
        entry["folder"] = "."  # toybox tasks read no files
    (out / "tasks" / "index.json").write_text(json.dumps(index, indent=1) + "\n")

    card = (model / "README.md").read_text()
    tables = [table(run / "eval" / split, title) for split, title in SPLITS.items()]
    (out / "README.md").write_text(card + "\n" + "\n".join(tables))
    load_model_folder(out)  # it is whole
    size = (out / "model.safetensors").stat().st_size / 2**20
    print(f"{out}: {size:.1f} MiB of weights")


def table(folder: Path, title: str) -> str:
    """Headline metric of each task beside its trivial baseline and the tokenizers' ceiling, as Markdown."""
    results = Results.load(folder)
    won = [t.better_than_baseline for t in results.tasks.values() if t.better_than_baseline is not None]
    lines = [
        f"## Scores on {title}",
        "",
        f"{max(t.n for t in results.tasks.values())} rows a task; better than the trivial baseline on "
        f"{sum(won)} of {len(won)} tasks.",
        "",
        "| task | metric | model | baseline | ceiling |",
        "|---|---|---|---|---|",
    ]
    for name, task in sorted(results.tasks.items()):
        columns = (task.metrics, task.baseline, task.ceiling)
        values = [shown(task.headline, scores) for scores in columns]
        lines.append(f"| {name} | {task.headline} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))

"""`<run>/model/`: all that prompting and evaluation need, in one folder that can be moved.

config.json, generation_config.json, model.safetensors; `tokenizer/`; `tasks/<task>.yaml`, each task as
resolved, and `tasks/index.json` with its identity and the folder where its relative paths start; `run.yaml`;
`history.json`, the runs that made the weights, the first one first; README.md.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from torch import Tensor

from unified.evaluation.model_folder import HISTORY, find_model_folder, share_weights, write_tasks
from unified.evaluation.surroundings import surroundings
from unified.model.configuration import UnifiedConfig
from unified.model.modeling import UnifiedModel
from unified.specs.load import LoadedTask, to_yaml
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.training.config import RunConfig
from unified.training.disk import room_for
from unified.training.setup import TOKENIZER

MODEL = "model"


def export(
    weights: dict[str, Tensor],
    model: UnifiedModel,
    tokenizers: TokenizerSet,
    tasks: Sequence[LoadedTask],
    config: RunConfig,
    *,
    step: int,
    command: Sequence[str],
) -> Path:
    """Writes the model folder of a run at `step`. The one before is replaced when the new one is whole.
    Raises UserError where there is no room for it."""
    folder = config.folder / MODEL
    work = folder.with_name(f".{MODEL}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with room_for("the model", config.folder):
        _write(work, weights, model, tokenizers, tasks, config, step, command)
    old = folder.with_name(f".{MODEL}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _write(
    work: Path,
    weights: dict[str, Tensor],
    model: UnifiedModel,
    tokenizers: TokenizerSet,
    tasks: Sequence[LoadedTask],
    config: RunConfig,
    step: int,
    command: Sequence[str],
) -> None:
    size = sum(weight.numel() for weight in weights.values())
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(work, state_dict=weights)
    share_weights(work)
    tokenizers.save(work / TOKENIZER)
    write_tasks(work / "tasks", tasks)
    (work / "run.yaml").write_text(to_yaml(config.model_dump(mode="json")))
    history = history_of(config, step, command)
    (work / HISTORY).write_text(json.dumps(history, indent=1) + "\n")
    card = model_card(model.config, size, tokenizers, tasks, config, history)
    (work / "README.md").write_text(card)


def history_of(config: RunConfig, step: int, command: Sequence[str]) -> list[dict[str, Any]]:
    """This run behind those that made the weights it started from."""
    earlier: list[dict[str, Any]] = []
    if config.init is not None:
        file = find_model_folder(config.init) / HISTORY
        earlier = json.loads(file.read_text()) if file.exists() else []
    run = {
        "command": shlex.join(command),
        "init": config.init,
        "seed": config.seed,
        "steps": step,
        "batch_size": config.data.batch_size,
        **surroundings(),
    }
    return [*earlier, run]


def model_card(
    shape: UnifiedConfig,
    parameters: int,
    tokenizers: TokenizerSet,
    tasks: Sequence[LoadedTask],
    config: RunConfig,
    history: Sequence[dict[str, Any]],
) -> str:
    """What the model is and how it was made, for the people who find the folder."""
    licences = sorted({t.spec.license for t in tasks if t.spec.license})
    lines = [
        "---",
        "library_name: unified",
        "tags: [unified, unified-io]",
        "---",
        "",
        f"# {config.folder.name}",
        "",
        f"An encoder-decoder of {parameters:,} parameters "
        f"(d_model {shape.d_model}, {shape.encoder_layers} + {shape.decoder_layers} layers, images of "
        f"{shape.image_size} px) for {len(tasks)} task(s). It was made by",
        "",
        *(
            f"{i}. `{run['command']}`: {run['steps']:,} steps of {run['batch_size']} examples, "
            f"seed {run['seed']}, from {run['init'] or 'random weights'}"
            for i, run in enumerate(history, start=1)
        ),
        "",
        f"- tokenizer set: {tokenizers.name} ({tokenizers.hash[:12]})",
        f"- licences of the data: {', '.join(licences) or 'not stated'}",
        "",
        "The whole configuration is in `run.yaml`, the tasks are in `tasks/`:",
        "",
        *(f"- `{task.identity}` {task.spec.description}".rstrip() for task in tasks),
        "",
        "Ask it:",
        "",
        f"    unified prompt <this folder> --task {tasks[0].name} --set FIELD=VALUE --image PICTURE",
        "",
    ]
    return "\n".join(lines)

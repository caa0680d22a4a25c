"""What a run is made of: `configs/*.yaml` and `key=value` changes to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from unified.errors import UserError, did_you_mean
from unified.specs.document import Document, Key, Place, read_file
from unified.specs.paths import resource
from unified.specs.problems import SpecError
from unified.specs.structure import validate

Decay: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Strict):
    """The shape of a model that starts from random weights (`init: null`), or the changes to that of `init`
    which leave its weights usable (`dropout`)."""

    size: str | None = None
    """toy, small, base, large or xl; must be left out where `init` is given."""
    overrides: dict[str, Any] = {}
    """Fields of UnifiedConfig, e.g. {d_model: 256, patch_embed: linear}."""


class PackingConfig(Strict):
    """Most positions of a row that holds several examples; `unified mixture lengths` suggests them. A longer
    example lengthens the rows of its micro-batch."""

    encoder: int = Field(ge=8)
    decoder: int = Field(ge=8)


class DataConfig(Strict):
    batch_size: int = Field(ge=1)
    """Examples of one optimiser step, over all ranks and accumulation steps."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Examples of one forward pass on one rank; default: batch_size / ranks (no accumulation)."""
    packing: PackingConfig | None = None
    """Several examples share a row, none sees another: almost no padding. null: each has a row of its own."""
    patches: int | None = Field(default=None, ge=1)
    """Patches of each input picture that are seen in training, drawn at random (Unified-IO: 128 of 576);
    evaluation sees all. null: all."""
    workers: int = Field(default=1, ge=0)
    """Processes a rank that read and tokenise ahead."""
    length_power: float = Field(default=0.0, ge=0, le=1)
    """Loss weights of an answer of n tokens are divided by n^length_power: with 0 every token counts the same
    (a depth map outweighs a yes/no by its length), with 1 every answer does."""
    cache: str | None = None
    """Folder of the image codes that `unified cache` has made of picture answers; null: made as needed."""
    overfit: int | None = Field(default=None, ge=1)
    """Learn this many first rows of each task by heart, always with the same prompt and answer: what cannot
    be learnt so has a fault in its task, its data or the model."""


class OptimConfig(Strict):
    """At least one of `steps` and `minutes` ends the run; the schedule follows whichever is further on."""

    name: Literal["adamw", "adafactor"] = "adamw"
    lr: float = Field(gt=0)
    """Peak learning rate."""
    embedding_lr: float = Field(default=1.0, gt=0)
    """Learning rate of the embeddings of tokens, positions and segments, as a multiple of `lr`. They start at
    ten times the scale of matrices and Adam's steps do not depend on scale, so from random weights 10 learns
    much faster than 1."""
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    weight_decay: float = Field(default=0.01, ge=0)
    """Of matrices; never of norms, embeddings, position tables and biases."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    schedule: Literal["constant", "cosine", "inverse_sqrt"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    final_lr: float = Field(default=0.0, ge=0, le=1)
    """Cosine: the learning rate at the end as a share of `lr`."""
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock budget of training steps (evaluation and export not counted). A run with one is not
    reproducible step for step: the schedule follows the clock."""


class EngineConfig(Strict):
    zero: Literal[0, 1, 2, 3] = 0
    """ZeRO stage: 0 nothing, 1 optimiser state, 2 gradients too, 3 parameters too are split over ranks."""
    precision: Literal["fp32", "auto", "autocast_bf16", "bf16", "fp16"] = "fp32"
    """autocast_bf16: float32 weights, matrix products in bfloat16. auto: that where every rank's device has
    bfloat16 in hardware, else fp32. bf16, fp16: DeepSpeed's own, with float32 master weights; they need
    `zero` 1-3."""
    activation_checkpointing: bool = False
    attention: Literal["sdpa", "flex"] = "sdpa"
    """Kernels of packed rows. flex computes no block in which nothing is seen; it needs a GPU."""
    compile: bool = False
    """torch.compile of every layer: faster steps after about a minute, needs a C++ compiler on a CPU."""
    offload: Literal["optimizer", "all"] | None = None
    """What lives in the host's memory instead of the GPU's: `optimizer`, its state and its work (`zero` 1-3);
    `all`, the weights too (`zero: 3`). `unified estimate` says what that saves."""


class CheckpointConfig(Strict):
    every_steps: int | None = Field(default=None, ge=1)
    every_minutes: float | None = Field(default=None, gt=0)
    keep: int = Field(default=2, ge=1)
    """How many of the newest checkpoints stay. The last step is always saved."""


class EvalConfig(Strict):
    at_end: bool = False
    every_steps: int | None = Field(default=None, ge=1)
    split: str = "validation"
    limit: int | None = Field(default=200, ge=1)
    """Rows of each task."""


class SamplesConfig(Strict):
    """Grids of what the model answers to the same examples of `eval.split` as it learns: pictures under
    <run>/samples, in the report, and in the trackers that take pictures."""

    every_steps: int | None = Field(default=None, ge=1)
    """null: none are drawn."""
    per_task: int = Field(default=4, ge=1, le=16)
    tasks: list[str] = []
    """Names; default: all of the run that have that split."""


class RunConfig(Strict):
    """One run. Relative paths start at the current folder."""

    run: str
    """Folder of everything the run writes."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    init: str | None = None
    """Weights to start from: a run or model folder, or the name of shipped weights; null: random ones."""
    model: ModelConfig = ModelConfig()
    tokenizer: str | None = None
    """Name or folder of a tokenizer set; default: that of `init`."""
    mixture: str | None = None
    """Name or path of a mixture. Exactly one of `mixture` and `tasks`."""
    tasks: list[str] = []
    """Names, paths or `tag:NAME` of tasks that are sampled equally often."""
    data: DataConfig
    optim: OptimConfig
    engine: EngineConfig = EngineConfig()
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running mean of the weights, which is then what is exported."""
    on_nan: Literal["stop", "skip"] = "stop"
    """What follows on a step whose loss or gradient is not a number: `stop` ends the run; `skip` leaves that
    step out, though not 20 in a row. Either way its rows are written to <run>/not_a_number/."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    eval: EvalConfig = EvalConfig()
    samples: SamplesConfig = SamplesConfig()
    track: list[str] = ["jsonl", "tensorboard"]
    """Where the numbers go: jsonl, tensorboard, wandb, trackio."""
    log_every: int = Field(default=10, ge=1)

    @property
    def folder(self) -> Path:
        return Path(self.run).expanduser()


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run config of a YAML file (or the name of a shipped one) with `a.b=value` changes, whose values
    are read as YAML. Raises SpecError with all problems and the line or the override of each."""
    document = read_file(_find(path))
    problems = list(document.problems)
    if document.data is None or problems:
        raise SpecError(problems)
    for text in overrides:
        _apply(document, text)
    config, problems = validate(RunConfig, document)
    if config is not None:
        problems += [document.problem(key, message) for key, message in _rules(config)]
    if config is None or problems:
        raise SpecError(problems)
    return config


def _find(path: str | Path) -> Path:
    file = Path(path).expanduser()
    if file.suffix in (".yaml", ".yml"):
        return file.absolute()
    shipped = {p.stem: p for p in sorted(resource("configs").glob("*.yaml"))}
    if str(path) not in shipped:
        hint = did_you_mean(str(path), list(shipped)) or f"; there are {', '.join(shipped)}"
        raise UserError(f"unknown config '{path}'{hint}, or the path of a .yaml file")
    return shipped[str(path)]


def _apply(document: Document, text: str) -> None:
    """Writes one override into the document. Its place is the override itself, so that what is wrong with it
    is reported as such."""
    name, equals, raw = text.partition("=")
    if not equals or not name:
        raise UserError(f"{text}: write a change as key=value, e.g. optim.lr=3e-4")
    parsed = _parse(text, raw)
    key: Key = tuple(name.split("."))
    place = Place(Path(f"override {text}"), 0)
    parent = document.data
    for i, part in enumerate(key[:-1]):
        if not isinstance(parent.get(part), dict):
            parent[part] = {}
            document.places[key[: i + 1]] = place
        parent = parent[part]
    parent[key[-1]] = parsed
    for old in [k for k in document.places if k[: len(key)] == key]:
        del document.places[old]
    document.places[key] = place


def _parse(text: str, raw: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(raw) if raw.strip() else None
    except YAMLError as error:
        raise UserError(f"{text}: the value is not valid YAML ({str(error).splitlines()[0]})") from None


def _rules(config: RunConfig) -> list[tuple[Key, str]]:
    """What is wrong across keys: (the key to blame, why and how to mend it)."""
    init, data, optim, engine = config.init, config.data, config.optim, config.engine
    half, micro = engine.precision in ("bf16", "fp16"), data.micro_batch
    rules: list[tuple[bool, Key, str]] = [
        (
            (config.mixture is None) == (not config.tasks),
            ("mixture",),
            "give exactly one of `mixture` and `tasks`",
        ),
        (
            (init is None) == (config.model.size is None),
            ("model", "size"),
            "give exactly one of `init` (weights to start from) and `model.size`",
        ),
        (
            init is None and config.tokenizer is None,
            ("tokenizer",),
            "a model without `init` needs a tokenizer set, e.g. toy",
        ),
        (
            optim.steps is None and optim.minutes is None,
            ("optim", "steps"),
            "give `steps`, `minutes` or both: nothing ends the run",
        ),
        (
            optim.name == "adafactor" and engine.zero > 0,
            ("engine", "zero"),
            "Adafactor factors whole matrices, which ZeRO flattens and splits; set `zero: 0`, or "
            "`optim.name: adamw`",
        ),
        (
            half and engine.zero == 0,
            ("engine", "zero"),
            f"DeepSpeed's stage 0 sums micro-batches in {engine.precision}; "
            "set `zero: 1`, which costs nothing, or `precision: autocast_bf16`",
        ),
        (
            engine.attention == "flex" and data.packing is None,
            ("engine", "attention"),
            "flex is for packed rows; give `data.packing`",
        ),
        (
            engine.compile and engine.zero == 3,
            ("engine", "compile"),
            "ZeRO-3 gathers weights between the operations that a compiled layer fuses; set `zero: 2`",
        ),
        (
            engine.offload is not None and engine.zero == 0,
            ("engine", "offload"),
            "needs the optimizer state that ZeRO keeps apart; set `zero: 1`, 2 or 3",
        ),
        (
            engine.offload == "all" and engine.zero in (1, 2),
            ("engine", "offload"),
            "only ZeRO-3 can leave the weights in the host's memory; set `zero: 3`, or `offload: optimizer`",
        ),
        (
            data.patches is not None and data.packing is None,
            ("data", "patches"),
            "unseen patches are padding unless rows are packed; give `data.packing`",
        ),
        (
            micro is not None and data.batch_size % micro > 0,
            ("data", "micro_batch"),
            f"{data.batch_size} examples a step do not divide into micro-batches of {micro}",
        ),
    ]
    return [(key, message) for broken, key, message in rules if broken]

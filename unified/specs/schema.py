"""The schema of a task spec and of a mixture: what may stand in the YAML.

Only shape and types are checked here. Rules that span several keys live in `lint.py`, which works
on the raw YAML and therefore knows the line of every key.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from unified.specs.source_schema import Source, Strict

FieldType = Literal[
    "text", "texts", "label", "number", "boxes", "points", "keypoints", "grounded_text",
    "image", "mask", "segmentation", "depth", "normals",
]  # fmt: skip
# ------------------------------------------------------------------------------------- fields


class FieldSpec(Strict):
    """How one typed value is read from a row. `name: path` is shorthand for `name: {path: path}`."""

    type: FieldType | None = None
    """Default: the field's own name where that is a type (`image`, `depth`, ...; also `box` -> boxes,
    `caption`/`question`/... -> text), else `text`."""
    path: str | None = None
    """Where the value stands in the row; default: the field's name. `a.b` goes down, `a[0]` indexes,
    `a[b]` by the number that stands at `b`, `a[1:3]` cuts a list or a text, `a[].b` collects all elements
    into one value, `a[*]` makes one example for each element (`a[][*]`: of the lists in a; `[*]`: its number;
    `a[:*]`: those before it). A path with braces is a format string over the row
    (`"{folder}/{stem}_depth.png"`). `a | b` is the first that the row has, or of files, that exists.
    `a.names`: of a class whose data set knows the names (hub, parquet), those of all classes."""
    format: str | None = None
    """Boxes (also of grounded_text): xyxy (default), xywh, cxcywh, yxyx. Points: xy. Keypoints: coco.
    Each with `normalized_` before it when in 0..1. Mask: png, rle, polygon, bool. Segmentation: png.
    Depth: png, npy. Normals: rgb, npy. Text: tokens, words and (VCR) lists of indices into `labels`.
    Texts: tokens of each; list, a list written as text. Other types have none."""
    unit_scale: float | None = None
    """Raw number x unit_scale = the value's unit (depth PNG in mm: 0.001)."""
    axes: tuple[str, str, str] | None = None
    """Normals: the source's axes in terms of ours, e.g. ["x", "-y", "-z"]."""
    names: list[str] | str | None = None
    """Class or joint names by index, or a text file with one name a line."""
    map: dict[str, str] | None = None
    """Raw value (as text; booleans as true/false) -> text."""
    labels: str | None = None
    """Boxes and points: path of the label of each."""
    image: str | None = None
    """The image field whose frame a spatial value lives in; default: the first input image."""
    at: float | None = Field(default=None, ge=0, le=1)
    """Images: the path names a video or a folder of frames, and this is the share of its length at which
    the frame is taken. Sound is not read."""
    default: Any = None
    """Used where the row lacks the key; without it a missing key is a bad row."""


class PromptSpec(Strict):
    text: str
    weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _colon(cls, value: Any) -> Any:
        if isinstance(value, dict) and value and not value.keys() & {"text", "weight"}:
            raise ValueError("a prompt that contains ': ' must be in quotes")
        return value


class InputSpec(Strict):
    images: list[str] = []
    prompt: list[PromptSpec]
    eval_prompt: str | None = None
    """Default: the first prompt."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longest prompt in text tokens, its end included; what is beyond is cut off. Default: what fits the
    model."""

    @field_validator("prompt", mode="before", json_schema_input_type=str | list[str | PromptSpec])
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        value = [value] if isinstance(value, str) else value
        return [{"text": p} if isinstance(p, str) else p for p in value] if isinstance(value, list) else value


class TargetSpec(Strict):
    """Exactly one of `field` and `template`."""

    field: str | None = None
    template: str | None = None
    modality: FieldType | None = None
    """What a prediction is read back as. Default: the field's type; `text` for templates."""
    max_items: int | None = Field(default=None, ge=1)
    order: Literal["given", "left_to_right", "largest_first", "random"] = "given"
    sample: Literal["first", "random", "most_common"] = "random"
    """Which of several strings (`texts`) is trained on; evaluation always takes the first."""
    value_range: tuple[float, float] | None = None
    """Depth: metres that become black and white. Number: the legal range."""
    decimals: int = Field(default=1, ge=0, le=6)
    """Number: digits after the point."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in text tokens, EOS included; default: the set's decoder length."""
    palette: Literal["spread", "unified_io"] = "spread"
    """Segmentation: the colours of the classes. `unified_io` is for at most four instances, white, red,
    green and blue, read back by the official rule."""


class OptionsSpec(Strict):
    """Closed answers: exactly one of `choices` (the same for all rows), `field` (a `texts` field, per
    row), `file` (one a line) and `pool`."""

    choices: list[str] | None = None
    field: str | None = None
    file: str | None = None
    pool: str | None = None
    """A `texts` field; the options of every row are its strings in all evaluated rows, in order (retrieval).
    In training there are no options."""
    decode: Literal["rank", "constrain"] = "constrain"
    """constrain: only an option can be written (without those of a `field`, which `unified prompt` may leave
    out, anything). rank: each option is scored."""


class GenerationSpec(Strict):
    num_beams: int = Field(default=1, ge=1)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    guidance_scale: float = Field(default=1.0, ge=1)
    constrain: bool = True
    """Only ids that the target's kind allows may be generated."""


class JointSpec(Strict):
    """Another task, evaluated in the same call, and the field (of both tasks) whose value its examples
    share with those of this one. VCR's Q->AR: right where answer and rationale are."""

    task: str
    key: str


class MetricSpec(Strict):
    name: str
    references: str | None = None
    """Field with the reference(s); default: the target."""
    fields: dict[str, str] = {}
    """Argument of the metric -> field: the metric is given a list of its values, one an example."""
    by: str | None = None
    """Field; the score is also told for the examples of each of its values, compared as text."""
    jointly: JointSpec | None = None
    """Makes this the mean over examples of this task's score times that of another task's example."""
    args: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """What it is called in results: its name, with arguments if it has any."""
        args = [f"{k}={v}" for k, v in self.args.items()]
        args += [f"jointly={self.jointly.task}"] if self.jointly is not None else []
        return f"{self.name}({', '.join(args)})" if args else self.name


class SubmissionSpec(Strict):
    """The file that a benchmark's server takes, written by `unified eval ... --submission FOLDER`."""

    file: str
    """Its name; `{split}` and `{task}` stand for themselves. png: a folder."""
    format: Literal["json", "json_map", "csv", "png"] = "json"
    """json: a list of rows. json_map: a mapping from `key` to rows, or to their values where the only column
    is called `value`; tasks that write the same file share the rows of a key. csv: lines in the order of
    `row`. png: one picture a row, as large as its image, named by `key`; masks are 0 and 255."""
    key: str | None = None
    """Field of the mapping's keys or of the pictures' names (whose own ending is dropped)."""
    row: dict[str, str] = {}
    """Column -> its source: a field's name (fields of type number are written as numbers), or of the
    prediction: `$answer` its text or number; `$choice` the place of the chosen option, from 0; `$scores` the
    log-probability of each option, `$ranks` their ranks, from 1 (both need `decode: rank`); `$score` the
    log-probability of a text, or how sure a box is (1 where the model does not say); `$mask` COCO's run
    lengths; and with a row for each box or figure: `$box` x, y, width, height in pixels, `$xyxy` its corners,
    `$label`, `$keypoints` x, y, visibility of each joint."""
    codes: dict[str, dict[str, str | int]] = {}
    """Column -> text -> what is written for it, e.g. the category ids of labels. Rows with another text are
    left out."""
    header: bool = False
    """csv: whether the first line names the columns."""


class CheckSpec(Strict):
    """A golden row: what it must render to when evaluated.

    Locations are written in pixels of the row's image, `<box x1 y1 x2 y2>`, `<point x y>`,
    `<keypoints n>`, since tokens and their order belong to a tokenizer set."""

    row: dict[str, Any]
    """Values by field, after reading: text, number, list of texts; boxes as [x1, y1, x2, y2] or
    {box, label} or a list of them; an image as its [width, height], by default 100 x 100."""
    prompt: str | None = None
    target: str | None = None


class SamplingSpec(Strict):
    weight: float = Field(default=1.0, gt=0)


# --------------------------------------------------------------------------------------- task


class TaskSpec(Strict):
    task: str
    version: int = Field(default=1, ge=1)
    description: str = ""
    tags: list[str] = []
    license: str | None = None
    citation: str | None = None
    homepage: str | None = None
    """Where the data is officially found."""
    download: dict[str, str] = {}
    """File or folder below the source's root -> what it comes from: an address, an archive to unpack, or
    what else is to be done."""
    notes: list[str] = []
    """Traps, the protocol, what is not modelled."""
    source: Source | None = None
    """Where rows come from. A task without it can be checked and prompted, but not trained or evaluated
    on."""
    fields: dict[str, FieldSpec]
    preprocess: list[dict[str, dict[str, Any]]] = []
    """Ordered ops, each `name: {options}`."""
    input: InputSpec
    target: TargetSpec
    options: OptionsSpec | None = None
    generation: GenerationSpec = GenerationSpec()
    postprocess: list[Literal["strip", "lowercase", "first_line"]] = []
    metrics: list[MetricSpec] = []
    """The first is the headline; default: those of the target's modality."""
    submission: SubmissionSpec | None = None
    sampling: SamplingSpec = SamplingSpec()
    checks: list[CheckSpec] = []

    @field_validator("fields", mode="before", json_schema_input_type=dict[str, str | FieldSpec | None])
    @classmethod
    def _field_shorthand(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: {"path": v} if isinstance(v, str) else (v or {}) for k, v in value.items()}

    @field_validator(
        "preprocess", mode="before", json_schema_input_type=list[str | dict[str, dict[str, Any] | None]]
    )
    @classmethod
    def _op_shorthand(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        out = [{v: {}} if isinstance(v, str) else v for v in value]
        return [{k: a or {} for k, a in v.items()} if isinstance(v, dict) else v for v in out]

    @field_validator("metrics", mode="before", json_schema_input_type=list[str | MetricSpec])
    @classmethod
    def _metric_shorthand(cls, value: Any) -> Any:
        return [{"name": m} if isinstance(m, str) else m for m in value] if isinstance(value, list) else value

    def field_type(self, name: str) -> FieldType:
        """The type of a field, by declaration or by its name."""
        return self.fields[name].type or NAMED_TYPES.get(name, "text")

    def frame_of(self, name: str) -> str | None:
        """The field in whose frame a field's value lives: itself for images, else the `image` that it
        names, else the first input image, else the first image of all; None without any image."""
        if name in self.input.images or self.field_type(name) == "image":
            return name
        images = [field for field in self.fields if self.field_type(field) == "image"]
        return self.fields[name].image or next(iter([*self.input.images, *images]), None)

    @property
    def modality(self) -> FieldType:
        """What the task's answer is read back as."""
        if self.target.modality:
            return self.target.modality
        if self.target.field:
            kind = self.field_type(self.target.field)
            return "text" if kind == "texts" else kind
        return "text"


NAMED_TYPES: dict[str, FieldType] = {
    "image": "image", "mask": "mask", "segmentation": "segmentation", "depth": "depth",
    "normals": "normals", "boxes": "boxes", "box": "boxes", "objects": "boxes", "points": "points",
    "point": "points", "keypoints": "keypoints", "label": "label", "number": "number",
}  # fmt: skip
"""Field names that state their own type."""

# ------------------------------------------------------------------------------------ mixture


class RateSpec(Strict):
    """Rate of a task before its weight. constant: 1; examples: rows; sqrt: sqrt(rows); groups: each
    group gets its `share`, divided by sqrt(rows) inside. `temperature` T raises rates to 1/T; `cap`
    bounds rows."""

    by: Literal["constant", "examples", "sqrt", "groups"] = "constant"
    temperature: float = Field(default=1.0, gt=0)
    cap: int | None = Field(default=None, ge=1)


class MixtureEntry(Strict):
    """One of task (name or path), tag, mixture."""

    task: str | None = None
    tag: str | None = None
    mixture: str | None = None
    weight: float = Field(default=1.0, gt=0)
    share: float | None = Field(default=None, gt=0, le=1)
    """A fixed share of all examples; the rest is divided among the others by rate."""
    group: str | None = None


class MixtureSpec(Strict):
    mixture: str
    description: str = ""
    citation: str | None = None
    rate: RateSpec = RateSpec()
    groups: dict[str, float] = {}
    tasks: list[MixtureEntry]

    @field_validator("tasks", mode="before", json_schema_input_type=list[str | MixtureEntry])
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [
            ({"tag": v[4:]} if v.startswith("tag:") else {"task": v}) if isinstance(v, str) else v
            for v in value
        ]

"""The `training` section of an image tokenizer's config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unified.errors import UserError, did_you_mean
from unified.specs.document import read_file
from unified.specs.problems import SpecError


class DiscriminatorConfig(BaseModel):
    """A patch discriminator with hinge loss. `weight` scales taming's adaptive weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(ge=0)
    """Step from which it trains and judges."""
    weight: float = Field(0.1, ge=0)
    channels: int = 32
    layers: int = Field(2, ge=1)


class CropConfig(BaseModel):
    """Until step `until`, `batch_size * (size / side)^2` crops a step instead of whole images, for the same
    cost. Of a few random places each crop takes the busiest: most of a picture is flat."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: int = Field(ge=8)
    until: int = Field(ge=1)
    tries: int = Field(3, ge=1)


class ImageTrainingConfig(BaseModel):
    """The `training` section of an image tokenizer's config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mixture: str
    """Mixture whose images and dense targets are learnt."""
    size: int = Field(ge=8)
    """Side of the square images."""
    images: int = Field(ge=1)
    """Images drawn from the mixture, held in memory."""
    share: dict[
        Literal["image", "mask", "segmentation", "depth", "normals"], Annotated[float, Field(ge=0)]
    ] = {}
    """Relative weight of a kind (image, mask, segmentation, depth, normals) among them; default 1."""
    steps: int = Field(ge=1)
    batch_size: int = Field(32, ge=1)
    crop: CropConfig | None = None
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(100, ge=0)
    codebook_start: int = Field(0, ge=0)
    """Steps of the plain autoencoder before the codebook."""
    codebook_decay: float = Field(0.99, gt=0, lt=1)
    restart_every: int = Field(100, ge=1)
    """Steps between two replacements of unused codes."""
    squared_weight: float = Field(1.0, ge=0)
    """Weight of the squared error beside the absolute one."""
    discriminator: DiscriminatorConfig | None = None
    start_from: str | None = None
    """Weights to start from instead of random ones."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of matrix products; auto: bf16 where the device has it in hardware."""
    threads: int = Field(1, ge=1)
    """CPU threads of each process."""
    seed: int = 0
    save_every: int = Field(500, ge=1)
    log_every: int = Field(50, ge=1)


def read_training_config(path: Path, overrides: Sequence[str] = ()) -> ImageTrainingConfig:
    """The `training` section of `path`, with `key=value` overrides."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    document = read_file(path)
    if document.problems:
        raise SpecError(document.problems)
    section = document.data.get("training")
    if not isinstance(section, dict):
        raise UserError(f"{path}: no `training` section; see tokenizers/toy/vqgan.yaml for one")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"'{override}': overrides are written key=value, e.g. steps=2000")
        known = list(ImageTrainingConfig.model_fields)
        if key.split(".")[0] not in known:
            raise UserError(f"'{override}': no such key of `training`{did_you_mean(key, known)}")
        *parents, last = key.split(".")
        place = section
        for parent in parents:
            if not isinstance(place.setdefault(parent, {}), dict):
                raise UserError(f"'{override}': training.{parent} holds no keys; set it as a whole")
            place = place[parent]
        try:
            place[last] = YAML(typ="safe", pure=True).load(value)
        except YAMLError as error:
            told = str(error).splitlines()[0]
            raise UserError(f"'{override}': the value is not valid YAML ({told})") from None
    try:
        config = ImageTrainingConfig.model_validate(section)
    except ValidationError as error:
        lines = [
            f"{path}: training.{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()
        ]
        raise UserError("\n".join(lines)) from None
    if config.crop is not None and config.crop.side > config.size:
        raise UserError(
            f"{path}: training.crop.side {config.crop.side} is more than training.size {config.size}"
        )
    return config

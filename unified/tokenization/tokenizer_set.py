"""A tokenizer set: the frozen vocabulary of a model, as a folder of one YAML file and its assets."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unified.errors import UserError, did_you_mean
from unified.specs.document import read_file
from unified.specs.paths import resource
from unified.specs.problems import SpecError
from unified.tokenization.locations import LocationTokenizer
from unified.tokenization.text import TextTokenizer, load_sentencepiece
from unified.tokenization.vocabulary import IdRange, Vocabulary

FILE = "tokenizer.yaml"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextConfig(Strict):
    model: str
    """The sentencepiece model, a file of the folder. Its pieces are the first ids."""


class RangeConfig(Strict):
    """Ids of the text side. `reversed`: item 0 has the highest id."""

    start: int = Field(ge=3)
    count: int = Field(ge=1)
    reversed: bool = False

    def ids(self) -> IdRange:
        return IdRange(self.start, self.count, self.reversed)


class LayoutConfig(Strict):
    pieces: int = Field(ge=4)
    """Size of the text model: ids 0..pieces-1."""
    location: RangeConfig
    sentinel: RangeConfig | None = None
    text_size: int
    """Ids of the text side; the last one, text_size - 1, opens an image, and image codes follow."""


class LocationConfig(Strict):
    order: Literal["yx", "xy"]
    """Of coordinates in tokens: `yx` is y1 x1 y2 x2."""
    rounding: Literal["nearest", "unified_io"]


class ImageConfig(Strict):
    config: str
    """taming config, a file of the folder."""
    weights: str
    """Its weights, .safetensors or .ckpt, a file of the folder."""
    codes: int = Field(ge=1)
    """Size of the codebook."""
    size: int = Field(ge=1)
    """Side in pixels of the square images that the set encodes."""
    input_size: int = Field(ge=1)
    """Side in pixels of the images that models of this set usually read."""
    how_to_get: str | None = None
    """For weights that do not ship with the set: where they come from. They are then told apart by
    this file alone and do not enter the set's hash."""


class SetConfig(Strict):
    """`tokenizer.yaml`."""

    tokenizers: str
    version: int = Field(ge=1)
    description: str = ""
    text: TextConfig
    layout: LayoutConfig
    locations: LocationConfig
    image: ImageConfig


class TokenizerSet:
    """Text, location and image tokenizers of one vocabulary. Use `TokenizerSet.load`.

    `hash` identifies what ids mean: the sha256 of the YAML's content and of every shipped asset.
    """

    def __init__(self, folder: Path, config: SetConfig, *, image_weights: bool = True) -> None:
        self.folder = folder
        self.config = config
        self._image_weights = image_weights
        layout = config.layout
        self.vocabulary = Vocabulary(
            pieces=layout.pieces,
            location=layout.location.ids(),
            sentinel=layout.sentinel.ids() if layout.sentinel else None,
            text_size=layout.text_size,
            image_size=config.image.codes,
        )
        model = load_sentencepiece(self._asset(config.text.model, "text.model"))
        if model.get_piece_size() != layout.pieces:
            raise UserError(
                f"{folder / FILE}: layout.pieces is {layout.pieces}, but {config.text.model} has "
                f"{model.get_piece_size()} pieces; set it to that and move the ranges behind it"
            )
        self.text = TextTokenizer(model, self.vocabulary)
        self.locations = LocationTokenizer(
            self.vocabulary, order=config.locations.order, rounding=config.locations.rounding
        )
        self.hash = self._hash()

    @classmethod
    def load(cls, name_or_path: str | Path, *, image_weights: bool = True) -> TokenizerSet:
        """A set by its name (a folder of the shipped `tokenizers/`) or by the path of its folder.

        Without `image_weights`, `image` is None: for work that needs no codes.
        """
        folder = _find(name_or_path)
        return cls(folder, _read(folder / FILE), image_weights=image_weights)

    @property
    def name(self) -> str:
        return self.config.tokenizers

    @cached_property
    def image(self):  # type: ignore[no-untyped-def]  # VQModel | None; its module imports torch
        """The VQModel, read when first asked for; None if the set was loaded without image weights.

        Raises UserError where the weights do not ship with the set and are not there.
        """
        if not self._image_weights:
            return None
        from unified.tokenization.vqgan import VQModel

        image = self.config.image
        weights = self.folder / image.weights
        if not weights.exists():
            how = image.how_to_get or "they ship with the set: install it again"
            raise UserError(
                f"{weights}: the weights of the image tokenizer are not there. To get them: {how}"
            )
        model = VQModel.load(self._asset(image.config, "image.config"), weights)
        if model.n_codes != image.codes:
            raise UserError(
                f"{self.folder / FILE}: image.codes is {image.codes}, but {image.config} has {model.n_codes}"
            )
        return model

    @cached_property
    def code_cell(self) -> int:
        """Pixels a side that one image code stands for."""
        from unified.tokenization.vqgan import VQConfig

        return VQConfig.load(self._asset(self.config.image.config, "image.config")).factor

    def save(self, folder: str | Path) -> None:
        """Copy the set into `folder`, as checkpoints carry it; `load(folder)` gives the same hash."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        image = self.config.image
        for name in (FILE, self.config.text.model, image.config, image.weights):
            if (self.folder / name).exists() and self.folder.resolve() != folder.resolve():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.folder / name, folder / name)

    def _asset(self, name: str, key: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise UserError(f"{self.folder / FILE}: {key} names {name}, which is not in {self.folder}")
        return path

    def _hash(self) -> str:
        image = self.config.image
        digest = hashlib.sha256(json.dumps(self.config.model_dump(mode="json"), sort_keys=True).encode())
        names = [self.config.text.model, image.config]
        if image.how_to_get is None and (self.folder / image.weights).exists():
            names.append(image.weights)
        for name in names:
            digest.update(hashlib.sha256(self._asset(name, "an asset").read_bytes()).digest())
        return digest.hexdigest()


def require_same(expected: str, found: str, where: str) -> None:
    """Raise UserError when a checkpoint's tokenizer set is not the one it is used with."""
    if expected != found:
        raise UserError(
            f"{where}: made with the tokenizer set {expected[:12]}, but {found[:12]} was given; there the "
            "same ids mean other things. Use the set that the checkpoint carries.\n"
            f"  checkpoint: {expected}\n  given:      {found}"
        )


def list_sets() -> list[str]:
    """Names of the shipped sets."""
    return sorted(path.parent.name for path in resource("tokenizers").glob(f"*/{FILE}"))


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if (path / FILE).is_file():
        return path
    named = resource("tokenizers") / path
    if len(path.parts) == 1 and (named / FILE).is_file():
        return named
    known = list_sets()
    hint = did_you_mean(str(name_or_path), known)
    raise UserError(
        f"tokenizer set '{name_or_path}': no such set{hint}; the shipped ones are {', '.join(known)}, "
        f"or give a folder that holds {FILE}"
    )


def _read(path: Path) -> SetConfig:
    document = read_file(path)
    if document.problems:
        raise SpecError(document.problems)
    try:
        return SetConfig.model_validate(document.data)
    except ValidationError as error:
        told = [
            f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg'].lower()}" for e in error.errors()
        ]
        raise UserError("\n".join(told)) from None

"""A model's processor as Hugging Face knows one: words and images to the model's inputs, ids back to words.

processor = AutoProcessor.from_pretrained(folder)
model = AutoModelForSeq2SeqLM.from_pretrained(folder)
ids = model.generate(**processor("What is this in the image ?", images=image))
processor.batch_decode(ids)

Importing this module (or touching `unified.UnifiedProcessor`) registers configuration, model and processor
with transformers' Auto classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from transformers import AutoProcessor, BatchFeature
from transformers.utils import PROCESSOR_NAME, PushToHubMixin

from unified.data.collate import collate
from unified.errors import UserError
from unified.evaluation.model_folder import TOKENIZER, build_processor, read_config, read_tokenizers
from unified.evaluation.predictor import ENCODER_INPUTS
from unified.model import UnifiedConfig, UnifiedModel  # noqa: F401  # importing the model registers it
from unified.serving.asking import Asker
from unified.tokenization.processor import Processor
from unified.tokenization.quirks import OFFICIAL, quirks_of
from unified.values.types import Image

SIZES = ("image_size", "patch_size", "target_size", "max_input_length", "max_target_length")


class UnifiedProcessor(PushToHubMixin):
    """Wraps a `Processor`: no tasks, no typed answers; for those there is `unified.pipeline`."""

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self._asker = Asker({}, image_size=processor.image_size, target_size=processor.target_size)

    def __call__(self, text: str | Sequence[str], images: Any = None) -> BatchFeature:
        """Prompts and their images as arguments of `generate` and of the model, padded, as tensors.

        `images`: of one prompt, an image (path, bytes, PIL image or array), or a list of them; of a list of
        prompts, a list with None, an image or a list of images for each. Raises UserError for images that
        cannot be read and lists of different lengths.
        """
        texts = [text] if isinstance(text, str) else list(text)
        given = [images] if isinstance(text, str) else [None] * len(texts) if images is None else list(images)
        if not texts or len(given) != len(texts):
            raise UserError(f"{len(texts)} prompts and images for {len(given)}: give as many")
        encoded = []
        for prompt, own in zip(texts, given, strict=True):
            shown = [] if own is None else own if isinstance(own, list | tuple) else [own]
            question = self._asker.freely(prompt, shown, None)
            encoded.append(self.processor.encode(question.example, question.task))
        inputs = collate(encoded).inputs
        return BatchFeature({name: inputs[name] for name in ENCODER_INPUTS if name in inputs})

    def decode(self, ids: Any) -> str:
        """The text of a generated sequence up to its end; locations and image codes are left out."""
        vocabulary = self.processor.tokenizers.vocabulary
        row = [int(i) for i in ids]
        row = row[: row.index(vocabulary.eos_id)] if vocabulary.eos_id in row else row
        return self.processor.tokenizers.text.decode(row)

    def batch_decode(self, sequences: Any) -> list[str]:
        return [self.decode(ids) for ids in sequences]

    def decode_images(self, sequences: Any) -> list[Image]:
        """The images of generated sequences [.., image start, codes..], which all hold a whole one."""
        codes = [self.processor.split(ids)[1] for ids in sequences]
        if any(len(row) < self.processor.codes for row in codes):
            raise UserError(f"a sequence holds no whole image of {self.processor.codes} codes")
        import torch

        tokenizer = self.processor.tokenizers.image
        device = next(tokenizer.parameters()).device
        with torch.inference_mode():
            rows = torch.tensor([row[: self.processor.codes] for row in codes], device=device)
            return [Image(pixels) for pixels in tokenizer.decode(rows).cpu().numpy()]

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:
        """Writes `processor_config.json`, strictness included, and the tokenizer set."""
        folder = Path(save_directory)
        self.processor.tokenizers.save(folder / TOKENIZER)
        sizes = {name: getattr(self.processor, name) for name in SIZES}
        strict = self.processor.quirks == OFFICIAL
        data = {"processor_class": type(self).__name__, **sizes, "strict": strict}
        (folder / PROCESSOR_NAME).write_text(json.dumps(data, indent=2) + "\n")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, strict: bool | None = None,
        revision: str | None = None, token: Any = None, cache_dir: str | None = None,
        local_files_only: bool = False, force_download: bool = False, **_: Any,
    ) -> Self:  # fmt: skip
        """The processor of a folder that `save_pretrained` wrote, of a model folder, or of a hub repository
        with either.

        strict: read prompts as the official Unified-IO code does (`unified.tokenization.quirks`). Default: as
            the processor was saved; not strict for a model folder. UserError for other tokenizer sets."""
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            folder = Path(
                snapshot_download(
                    str(pretrained_model_name_or_path), revision=revision, token=token, cache_dir=cache_dir,
                    local_files_only=local_files_only, force_download=force_download,
                    allow_patterns=["*.json", f"{TOKENIZER}/*"],
                )
            )  # fmt: skip
        tokenizers = read_tokenizers(folder)
        file = folder / PROCESSOR_NAME
        if not file.is_file():
            return cls(build_processor(read_config(folder), tokenizers, strict=bool(strict)))
        data = json.loads(file.read_text())
        quirks = quirks_of(tokenizers, data.get("strict", False) if strict is None else strict)
        return cls(Processor(tokenizers, **{name: data[name] for name in SIZES}, quirks=quirks))


AutoProcessor.register(UnifiedConfig, UnifiedProcessor)

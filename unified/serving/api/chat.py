"""`/v1/chat/completions` as OpenAI's clients speak it: a question with pictures, answered in text."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unified.errors import UserError
from unified.serving.api.bodies import Body
from unified.serving.asking import Question
from unified.serving.pipeline import Pipeline
from unified.serving.result import Result
from unified.serving.uploads import Limits, from_base64, read_picture
from unified.values.types import DENSE_TYPES


class TextPart(Body):
    type: Literal["text"]
    text: str = Field(max_length=20_000)


class ImageUrl(BaseModel):
    model_config = ConfigDict(extra="ignore")  # `detail` says nothing to this model
    url: str = Field(description="A data: URI; addresses are not fetched.")


class ImagePart(Body):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(Body):
    role: Literal["user"] = Field(description="There is no conversation: one message of a user.")
    content: Annotated[str, Field(max_length=20_000)] | list[Part]


class ChatBody(Body):
    """Keys that would change nothing here are refused, not passed over."""

    model: str | None = None
    messages: list[Message] = Field(min_length=1, max_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, description="0 or none: the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1)
    n: Literal[1] = 1
    stream: Literal[False] = False
    user: str | None = None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Reply(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    index: int = 0
    message: Reply
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["unified"] = "unified"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


def chat_question(pipe: Pipeline, body: ChatBody, limits: Limits) -> Question:
    """Raises TooLarge, and UserError where it cannot be asked or would not be answered in text."""
    content = body.messages[0].content
    parts = [TextPart(type="text", text=content)] if isinstance(content, str) else content
    words = " ".join(part.text for part in parts if isinstance(part, TextPart))
    urls = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
    images = []
    for i, url in enumerate(urls):
        if not url.startswith("data:"):
            raise UserError(f"image {i + 1}: addresses are not fetched; send a data: URI")
        images.append(read_picture(from_base64(url, f"image {i + 1}", limits), f"image {i + 1}", limits))
    generation: dict[str, Any] = {}
    if body.temperature:
        generation = {"do_sample": True, "temperature": body.temperature}
        if body.top_p is not None:
            generation["top_p"] = body.top_p
    question = pipe.free_question(words, images, None, generation)
    kind = question.task.spec.modality
    if kind in DENSE_TYPES:
        raise UserError(f"the answer to that is a picture ({kind}); ask POST /v1/prompt")
    return question


def completion(pipe: Pipeline, name: str, body: ChatBody, result: Result) -> Completion:
    """Tokens of the prompt are those of its words; pictures are not counted."""
    most = body.max_completion_tokens or body.max_tokens
    text, finish, made = result.text, "stop", len(result.ids)
    if most is not None and made > most:
        text, finish, made = pipe.processor.tokenizers.text.decode(list(result.ids[:most])), "length", most
    asked = len(pipe.processor.encode_text(result.prompt))
    return Completion(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=name,
        choices=[Choice(message=Reply(content=text), finish_reason=finish)],  # type: ignore[arg-type]
        usage=Usage(prompt_tokens=asked, completion_tokens=made, total_tokens=asked + made),
    )

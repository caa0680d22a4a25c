"""The HTTP API: `build_app` makes a FastAPI application of a pipeline."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from unified.errors import UserError, did_you_mean
from unified.serving.api.batching import Batcher
from unified.serving.api.bodies import (
    Answer,
    ErrorBody,
    Health,
    PromptBody,
    TaskBody,
    TaskInfo,
    TaskList,
    answer_of,
    task_info,
)
from unified.serving.api.chat import ChatBody, Completion, Model, ModelList, chat_question, completion
from unified.serving.api.draining import Drained
from unified.serving.api.metrics import Counted, Metrics
from unified.serving.api.reading import prompt_question, read_given, read_json, task_question
from unified.serving.asking import Question
from unified.serving.pipeline import Pipeline
from unified.serving.result import Result
from unified.serving.uploads import Limits, TooLarge
from unified.specs.load import LoadedTask

KINDS = {
    400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
    422: "invalid_request", 429: "busy", 504: "timeout",
}  # fmt: skip

WORKERS = 2
"""Threads that read and write pictures. More would take turns from the thread of the model, as Python runs
one at a time."""
BEARER = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class Settings:
    """batch: most requests answered at once; queue: most that are inside, beyond which 429 is answered;
    timeout: seconds from a request's start to its answer; token: what `Authorization: Bearer` must hold."""

    batch: int = 32
    queue: int = 64
    timeout: float = 60.0
    token: str | None = None
    limits: Limits = field(default_factory=Limits)


def build_app(pipe: Pipeline, settings: Settings) -> FastAPI:
    name, begun, count = pipe.folder.name, int(time.time()), 0
    metrics = Metrics()
    batcher = Batcher(pipe, settings.batch, metrics.batch.observe)
    workers: ThreadPoolExecutor

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal workers
        with batcher.running(), ThreadPoolExecutor(WORKERS, "pictures") as workers:
            yield

    app = FastAPI(title="unified", version=_version(), lifespan=lifespan, description=__doc__)
    app.add_middleware(Drained, most=4 * settings.limits.max_bytes)
    app.add_middleware(Counted, metrics=metrics)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _user_error)
    guarded = [Depends(_authorised(settings.token))] if settings.token else []
    secured: Any = {"dependencies": guarded, "responses": _errors(401) if guarded else {}}
    asking: Any = {"dependencies": guarded, "responses": _errors(401, 413, 422, 429, 504)}

    @asynccontextmanager
    async def inside() -> AsyncIterator[None]:
        """One of the requests that are read or answered at a time. Raises 429 where there are enough, and
        504 where it takes too long."""
        nonlocal count
        if count >= settings.queue:
            raise HTTPException(429, "the server is busy; try again in a second", {"Retry-After": "1"})
        count += 1
        metrics.inside.set(count)
        try:
            async with asyncio.timeout(settings.timeout):
                yield
        except TimeoutError:
            raise HTTPException(504, f"no answer within {settings.timeout:g} s; ask for less") from None
        finally:
            count -= 1
            metrics.inside.set(count)

    async def answered(make: Callable[[], Question]) -> Result:
        question = await asyncio.wrap_future(workers.submit(make))
        return await asyncio.wrap_future(batcher.submit(question))

    async def told(result: Result, draw: bool) -> Answer:
        return await asyncio.wrap_future(workers.submit(answer_of, result, draw))

    def known(task: str) -> LoadedTask:
        found = pipe.find(task)
        if found is None:
            hint = did_you_mean(task, list(pipe.tasks)) or "; GET /v1/tasks lists them"
            raise HTTPException(404, f"this model knows no task '{task}'{hint}")
        return found

    @app.post("/v1/prompt", response_model_exclude_none=True, openapi_extra=_bodies(PromptBody), **asking)
    async def ask(request: Request) -> Answer:
        """Answers a prompt. In the words of a task's prompt it is answered as that task's; any other words
        are answered with text, or a `target`. As a form: `prompt`, `target`, `draw` and files `images`."""
        async with inside():
            given = await read_given(request, PromptBody, settings.limits)
            result = await answered(lambda: prompt_question(pipe, given, settings.limits))
            return await told(result, given.draw)

    @app.get("/v1/tasks", **secured)
    async def tasks() -> TaskList:
        """The tasks that the model carries, and the fields that each is asked with."""
        return TaskList(tasks=[task_info(task) for task in pipe.tasks.values()])

    @app.get("/v1/tasks/{task}", **{**secured, "responses": _errors(401, 404)})
    async def task(task: str) -> TaskInfo:
        """One task; the end of its name is enough."""
        return task_info(known(task))

    @app.post(
        "/v1/tasks/{task}", response_model_exclude_none=True, openapi_extra=_bodies(TaskBody),
        **{**asking, "responses": asking["responses"] | _errors(404)},
    )  # fmt: skip
    async def ask_task(task: str, request: Request) -> Answer:
        """Answers a task's question. As a form: files `images`, `draw`, and each field by its name."""
        found = known(task)
        async with inside():
            given = await read_given(request, TaskBody, settings.limits)
            result = await answered(lambda: task_question(pipe, found, given, settings.limits))
            return await told(result, given.draw)

    @app.post(
        "/v1/chat/completions", openapi_extra=_bodies(ChatBody, form=False),
        **{**asking, "responses": asking["responses"] | _errors(404)},
    )  # fmt: skip
    async def chat(request: Request) -> Completion:
        """One message of a user, with pictures as data: URIs, answered in text."""
        async with inside():
            body = await read_json(request, ChatBody, settings.limits)
            if body.model not in (None, name):
                raise HTTPException(404, f"there is no model '{body.model}' here, but '{name}'")
            result = await answered(lambda: chat_question(pipe, body, settings.limits))
            return completion(pipe, name, body, result)

    @app.get("/v1/models", **secured)
    async def models() -> ModelList:
        return ModelList(data=[Model(id=name, created=begun)])

    @app.get("/healthz")
    async def health() -> Health:
        return Health(status="ok", model=name)

    @app.get("/metrics", response_class=Response, **secured)
    async def prometheus() -> Response:
        """For Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _version() -> str:
    try:
        return version("unified")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"


def _authorised(token: str) -> Callable[..., None]:
    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        sent = "" if given is None else given.credentials
        if not hmac.compare_digest(sent.encode(), token.encode()):
            raise HTTPException(
                401, "send the server's token as Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )

    return check


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": ErrorBody, "description": KINDS[code].replace("_", " ")} for code in codes}


def _bodies(kind: type[Any], form: bool = True) -> dict[str, Any]:
    """What a request may hold. Read by hand, so that no more of a body than is allowed is ever held."""
    schema = _inlined(kind)
    content = {"application/json": {"schema": schema}}
    if form:
        picture = {"type": "string", "contentMediaType": "application/octet-stream"}
        words = {k: v for k, v in schema["properties"].items() if k not in ("images", "fields")}
        properties = {**words, "images": {"type": "array", "items": picture}}
        content["multipart/form-data"] = {
            "schema": {"type": "object", "properties": properties, "required": schema.get("required", [])}
        }
    return {"requestBody": {"required": True, "content": content}}


def _inlined(kind: type[Any]) -> dict[str, Any]:
    """A model's JSON schema with its parts in their places."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            rest = {k: v for k, v in node.items() if k != "$ref"}
            return inline(parts[node["$ref"].rsplit("/", 1)[1]]) | rest
        return {k: inline(v) for k, v in node.items() if k != "discriminator"}

    return inline(schema)


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    content = {"error": {"message": message, "type": KINDS.get(status, "error")}}
    return JSONResponse(content, status, headers)


async def _user_error(_: Request, error: Exception) -> Response:
    return _error(413 if isinstance(error, TooLarge) else 422, str(error))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return _error(error.status_code, str(error.detail), error.headers)

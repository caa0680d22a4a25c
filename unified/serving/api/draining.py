"""Answers that are given before a request was read to its end."""

from __future__ import annotations

from typing import Any


class Drained:
    """ASGI middleware that reads what is left of a request's body, up to `most` bytes, before the answer goes
    out: a connection that is closed with bytes unread is reset, and the client never sees the answer."""

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        more, left = True, self.most

        async def watched() -> Any:
            nonlocal more, left
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            left -= len(message.get("body", b""))
            return message

        async def after_reading(message: Any) -> None:
            if message["type"] == "http.response.start":
                while more and left > 0:
                    await watched()
            await send(message)

        await self.app(scope, watched, after_reading)

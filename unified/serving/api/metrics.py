"""What Prometheus is told: requests, their times, batches, and how many wait."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """A registry of its own, so that several apps in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "status")
        self.requests = Counter("unified_requests", "Requests", labels, registry=self.registry)
        self.seconds = Histogram(
            "unified_request_seconds", "Seconds to an answer", ("route",), registry=self.registry
        )
        self.batch = Histogram(
            "unified_batch_size", "Requests answered at once", buckets=BATCHES, registry=self.registry
        )
        self.inside = Gauge("unified_requests_inside", "Requests not answered yet", registry=self.registry)


class Counted:
    """ASGI middleware that counts and times requests by route."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")  # not the path: strangers could make many
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)

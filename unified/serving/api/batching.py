"""Requests that wait for the model, answered in batches of those that are decoded alike."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from unified.serving.asking import Question
from unified.serving.pipeline import Pipeline
from unified.serving.result import Result


@dataclass(frozen=True)
class _Waiting:
    question: Question
    way: tuple[Any, ...]
    future: Future[Result] = field(default_factory=Future)


class Batcher:
    """One thread that owns the model. Whenever it is free, it takes the request that has waited longest and
    all others that may share its batch, up to `most`; `on_batch` is told how many."""

    def __init__(self, pipe: Pipeline, most: int, on_batch: Callable[[int], None]) -> None:
        self.pipe, self.most, self.on_batch = pipe, most, on_batch
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._open = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """While inside, what is submitted is answered; at the end, what still waits."""
        self._open = True
        thread = threading.Thread(target=self._work, name="model", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._open = False
                self._changed.notify()
            thread.join()

    def submit(self, question: Question) -> Future[Result]:
        """The answer to come. Cancelled while it waits, it is not computed."""
        waiting = _Waiting(question, self.pipe.way(question))
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def _work(self) -> None:
        while batch := self._next():
            batch = [w for w in batch if w.future.set_running_or_notify_cancel()]
            if batch:
                self.on_batch(len(batch))
                self._answer(batch)

    def _next(self) -> list[_Waiting]:
        """Waits for a batch; empty when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open)
            if not self._waiting:
                return []
            way = self._waiting[0].way
            batch = [w for w in self._waiting if w.way == way][: self.most]
            chosen = set(map(id, batch))
            self._waiting = deque(w for w in self._waiting if id(w) not in chosen)
            return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            results = self.pipe.answer([w.question for w in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for waiting in batch:  # only the one that cannot be answered fails
                self._answer([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            waiting.future.set_result(result)

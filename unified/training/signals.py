"""Stopping in good order: SIGTERM and SIGINT end a run at the next step boundary."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

STOPS = (signal.SIGTERM, signal.SIGINT)
AGAIN = 2.0
"""Seconds after which another Ctrl-C means it: a launcher repeats the first one at once."""


class StopRequest:
    """Within its context SIGTERM and SIGINT are only noted (`number`, else 0). Ctrl-C pressed once more ends
    the process at once."""

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {s: signal.signal(s, self._note) for s in STOPS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > AGAIN:
            raise SystemExit(128 + number)

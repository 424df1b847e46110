"""How a server ends: nobody new, time for who is there, and at once when told twice."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Any

#: Seconds that a thread waits in one piece: a signal that comes as it begins does not wake it.
LOOK = 0.5
_CUT = 2.0  # seconds for those that are cut to say so
_BY_SIGNAL = 128  # a process that a signal ended has this and its number as its status
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger(__name__)


class StoppingError(Exception):
    """The server is to stop, and a request has no time left."""

    def __init__(self) -> None:
        super().__init__("the server is stopping")


class Flights:
    """The requests that are being answered, and until when they may."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._count = 0
        self._over = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a request for as long as it is answered."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def require_time(self) -> None:
        """Raise StoppingError when the time is over."""
        if self._over:
            raise StoppingError

    def land(self, grace: float) -> None:
        """Wait so many seconds until all have ended, then cut the others; once is enough."""
        with self._changed:
            if self._over:
                return
            if self._count:
                _log.info("turbo-kv: stopping: %d requests have %g s", self._count, grace)
            self._until_none(grace)
            self._over = True
            self._until_none(_CUT)

    def _until_none(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._count and (left := end - time.monotonic()) > 0:
            self._changed.wait(min(left, LOOK))


def stop_on_signals() -> None:
    """Let the first SIGINT or SIGTERM raise KeyboardInterrupt, the next end the process at once."""
    for number in _SIGNALS:
        signal.signal(number, _first)


def _first(*_: Any) -> None:
    for number in _SIGNALS:
        signal.signal(number, _second)
    raise KeyboardInterrupt


def _second(number: int, _: Any) -> None:
    os._exit(_BY_SIGNAL + number)

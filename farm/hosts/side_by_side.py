"""The same work on several hosts at once; what goes wrong on one is that one's alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import TypeVar

from farm.errors import HostError, of_host

Result = TypeVar("Result")
LOOK = 0.5  # seconds


def side_by_side(
    work: Callable[[str], Result], hosts: Iterable[str]
) -> dict[str, Result | HostError]:
    """Return what ``work`` gives for each host, or the error that it ended with."""
    futures = {host: _begun(work, host) for host in hosts}
    # In pieces: a signal that comes as a thread begins to wait does not wake it.
    while wait(futures.values(), timeout=LOOK).not_done:
        pass
    return {host: future.result() for host, future in futures.items()}


def _begun(work: Callable[[str], Result], host: str) -> Future[Result | HostError]:
    """Begin in a thread that ends with this process, so that an interrupt waits for no host."""
    future: Future[Result | HostError] = Future()

    def run() -> None:
        try:
            with of_host(host):
                future.set_result(work(host))
        except HostError as error:
            future.set_result(error)
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future

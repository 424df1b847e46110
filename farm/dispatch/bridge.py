"""From a thread that asks for records to the event loop in which the dispatcher works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue

from farm.dispatch.dispatcher import Dispatcher, Engine, Ledger
from farm.dispatch.schedule import Expected
from farm.plan.inventory import Host
from worker.job import Job
from worker.record import Record

THREADS = 64  # most hosts that may hold up a blocking call at once

Dispatch = Callable[[Iterable[Job]], Iterator[Record]]


@contextmanager
def dispatching(
    engine: Engine, ledger: Ledger, hosts: Mapping[str, Host], expected: Expected
) -> Iterator[Dispatch]:
    """Give a function that runs jobs and yields their records; sessions stay open between calls.

    A record counts as stored, and is deleted from its host, once the next one is asked for. A host
    that stays out of reach ends its jobs as lost; the jobs of a paused one stay as they are.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    dispatcher = Dispatcher(engine, ledger, hosts, expected)
    try:
        yield partial(_records, loop, dispatcher)
    finally:
        asyncio.run_coroutine_threadsafe(dispatcher.close(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _records(
    loop: asyncio.AbstractEventLoop, dispatcher: Dispatcher, jobs: Iterable[Job]
) -> Iterator[Record]:
    said: SimpleQueue[tuple[Record, asyncio.Event] | BaseException | None] = SimpleQueue()

    async def deliver(record: Record) -> None:
        stored = asyncio.Event()
        said.put((record, stored))
        await stored.wait()

    async def whole() -> None:
        try:
            await dispatcher.run(list(jobs), deliver)
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits for records
            said.put(error)
        else:
            said.put(None)

    future = asyncio.run_coroutine_threadsafe(whole(), loop)
    try:
        while (one := said.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one[0]
            loop.call_soon_threadsafe(one[1].set)
    finally:
        future.cancel()

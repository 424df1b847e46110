"""From a thread that asks for records to the event loop in which the dispatcher works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue

from farm.dispatch.dispatcher import Dispatcher, Engine, Ledger
from farm.dispatch.schedule import Expected
from farm.plan.inventory import Host
from worker.job import Job
from worker.record import Record

THREADS = 64  # most hosts that may hold up a blocking call at once

LOOK = 0.5  # seconds
ENDING = 30.0  # seconds that sessions have to end in when nobody asks for records any more

Said = tuple[Record, asyncio.Event] | BaseException | None
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
    running: set[asyncio.Task[None]] = set()
    try:
        yield partial(_records, loop, dispatcher, running)
    finally:
        asyncio.run_coroutine_threadsafe(_end(running), loop).result()
        asyncio.run_coroutine_threadsafe(dispatcher.close(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(running: set[asyncio.Task[None]]) -> None:
    """Cancel what runs, and wait: a session that is being closed ends the job on its host."""
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=ENDING)


def _records(
    loop: asyncio.AbstractEventLoop,
    dispatcher: Dispatcher,
    running: set[asyncio.Task[None]],
    jobs: Iterable[Job],
) -> Iterator[Record]:
    said: SimpleQueue[Said] = SimpleQueue()

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

    async def begin() -> asyncio.Task[None]:
        task = asyncio.ensure_future(whole())
        running.add(task)
        task.add_done_callback(running.discard)
        return task

    task = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        while (one := _next(said)) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one[0]
            loop.call_soon_threadsafe(one[1].set)
    finally:
        # The loop's own thread may collect this: the end is waited for in `dispatching`.
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


def _next(said: SimpleQueue[Said]) -> Said:
    """Wait in pieces: a signal that comes as a thread begins to wait does not wake it."""
    while True:
        with suppress(Empty):
            return said.get(timeout=LOOK)

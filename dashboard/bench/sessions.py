"""Time views of many sessions at once while records are written, and print what came of it.

``python -m dashboard.bench.sessions DATABASE [SESSIONS] [SECONDS] [RECORDS_PER_SECOND] [READING]``.
A session is a websocket of its own, as a browser's tab has; each view is a page chosen in turn,
from asking for it until the server says that its script is done, and is read for so many seconds
(none by default: the server is never idle). Writes into the database: give it a copy.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from statistics import median, quantiles

import psutil
from sqlalchemy import Engine
from starlette.datastructures import URL
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

from dashboard.bench.pictures import server
from dashboard.bench.writer import records, write
from db.engine import open_database

PAGES = ("", "devices", "bandwidth", "commits", "caches", "quality", "trust", "run")
LIMIT = 120.0  # seconds for one view


async def view(address: str, page: str) -> tuple[float, bool]:
    """Open a page as a new session; return the seconds until it is done, and whether it is well."""
    begun = time.perf_counter()
    stream = str(URL(address).replace(scheme="ws", path="/_stcore/stream"))
    async with connect(stream, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        ask = BackMsg()
        ask.rerun_script.query_string = ""
        ask.rerun_script.page_name = page
        await socket.send(ask.SerializeToString())
        well = True
        async for data in socket:
            message = ForwardMsg()
            message.ParseFromString(data if isinstance(data, bytes) else data.encode())
            well = well and message.delta.new_element.exception.type == ""
            if message.WhichOneof("type") == "script_finished":
                break
    return time.perf_counter() - begun, well


async def session(
    address: str, until: float, offset: int, reading: float = 0.0
) -> list[tuple[float, bool]]:
    """View one page after the other until the time is over, and read each for some seconds."""
    found: list[tuple[float, bool]] = []
    for page in itertools.islice(itertools.cycle(PAGES), offset, None):
        if time.monotonic() > until:
            return found
        found.append(await asyncio.wait_for(view(address, page), LIMIT))
        await asyncio.sleep(reading)
    return found


def keep_writing(engine: Engine, rate: float, stop: threading.Event) -> None:
    """Write records at a rate (1/s) until told to stop."""
    for record in records(engine, f"bench-{time.time():.0f}"):
        if stop.wait(1 / rate):
            return
        write(engine, record)


async def measure(
    address: str, sessions: int, seconds: float, reading: float
) -> list[tuple[float, bool]]:
    until = time.monotonic() + seconds
    every = await asyncio.gather(*(session(address, until, i, reading) for i in range(sessions)))
    return [one for found in every for one in found]


def main(database: str, sessions: int, seconds: float, rate: float, reading: float) -> None:
    """Measure, with a writer beside it, and print a table."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    stop = threading.Event()
    writer = threading.Thread(target=keep_writing, args=(open_database(database), rate, stop))
    with server(database) as address:
        if rate:
            writer.start()
        found = asyncio.run(measure(address, sessions, seconds, reading))
        children = psutil.Process().children(recursive=True)
        resident = max(child.memory_info().rss for child in children) // 10**6
        stop.set()
    times = sorted(took for took, _ in found)
    errors = sum(not well for _, well in found)
    print(f"{'sessions':>9}{'views':>7}{'errors':>8}{'p50 s':>8}{'p95 s':>8}{'max s':>8}{'MB':>6}")
    p95 = quantiles(times, n=20)[-1]
    print(
        f"{sessions:>9}{len(times):>7}{errors:>8}{median(times):>8.2f}{p95:>8.2f}"
        f"{times[-1]:>8.2f}{resident:>6}"
    )


if __name__ == "__main__":
    given = sys.argv[2:]
    defaults = ("20", "120", "2", "0")
    count, length, per_second, pause = (*given, *defaults[len(given) :])
    main(sys.argv[1], int(count), float(length), float(per_second), float(pause))

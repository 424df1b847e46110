"""Import many records while people look at pages, and say whether any is lost or stops.

``python -m dashboard.bench.importing DATABASE [RECORDS] [SESSIONS]``; with 0 sessions the import is
alone. The seconds include those that Python takes to begin. Writes into the database: give it a
copy.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from statistics import median

from dashboard.bench.pictures import server
from dashboard.bench.sessions import session
from dashboard.bench.writer import records
from db import queries
from db.engine import open_database

Views = list[tuple[float, bool]]


@contextmanager
def importing(database: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Start ``farm import`` of so many new records of this farm's own."""
    engine = open_database(database)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for record in islice(records(engine, f"import-{time.time():.0f}"), count):
            file.write(record.model_dump_json() + "\n")
        file.flush()
        command = [sys.executable, "-m", "farm", "import", file.name, "--own", "--db", database]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            yield process


async def look(address: str, process: subprocess.Popen[str], sessions: int) -> Views:
    """View pages in so many sessions until the import has ended."""
    found: Views = []
    if not sessions:
        process.wait()
    while process.poll() is None:
        soon = time.monotonic() + 5
        every = await asyncio.gather(*(session(address, soon, i) for i in range(sessions)))
        found += [one for some in every for one in some]
    return found


def main(database: str, count: int, sessions: int) -> None:
    """Measure, and print a table."""
    before = stored(database)
    with server(database) as address, importing(database, count) as process:
        begun = time.monotonic()
        found = asyncio.run(look(address, process, sessions))
        took = time.monotonic() - begun
    times = [seconds for seconds, _ in found] or [0.0]
    shown = {
        "records": count,
        "stored": stored(database) - before,
        "exit": process.returncode,
        "seconds": f"{took:.0f}",
        "a second": f"{count / took:.0f}",
        "views": len(found),
        "errors": sum(not well for _, well in found),
        "p50 s": f"{median(times):.2f}",
        "p95 s": f"{sorted(times)[int(0.95 * (len(times) - 1))]:.2f}",
    }
    print("".join(f"{name:>10}" for name in shown))
    print("".join(f"{figure:>10}" for figure in shown.values()))


def stored(database: str) -> int:
    counted = queries.counted_records(open_database(database))
    return counted.ours + counted.imported


if __name__ == "__main__":
    defaults = ("100000", "3")
    given = sys.argv[2:]
    number, people = (*given, *defaults[len(given) :])
    main(sys.argv[1], int(number), int(people))

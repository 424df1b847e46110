"""Import many records while people look at pages, and say whether any is lost or stops.

``python -m dashboard.bench.importing DATABASE [RECORDS] [SESSIONS]``. Writes into the database:
give it a copy.
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
from statistics import median, quantiles

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
    times = [seconds for seconds, _ in found]
    print(f"{'records':>9}{'stored':>9}{'exit':>6}{'seconds':>9}{'views':>7}{'errors':>8}"
          f"{'p50 s':>8}{'p95 s':>8}")  # fmt: skip
    print(f"{count:>9}{stored(database) - before:>9}{process.returncode:>6}{took:>9.0f}"
          f"{len(times):>7}{sum(not well for _, well in found):>8}{median(times):>8.2f}"
          f"{quantiles(times, n=20)[-1]:>8.2f}")  # fmt: skip


def stored(database: str) -> int:
    counted = queries.counted_records(open_database(database))
    return counted.ours + counted.imported


if __name__ == "__main__":
    defaults = ("100000", "3")
    given = sys.argv[2:]
    number, people = (*given, *defaults[len(given) :])
    main(sys.argv[1], int(number), int(people))

"""What Ray costs beside SSH: ``python tests/ray_figures.py`` (root, network namespaces).

Seconds to open sessions, milliseconds from a line to its answer, and what a host pays while it only
waits: all its processes but sshd, from /proc, while signs of life go on.
"""

# ruff: noqa: T201  a script that prints a table

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil

from farm import inventory
from farm.line import BEAT
from farm.over_ray import OverRay
from farm.remote import Remote
from lab import lab

HOSTS = ["h1", "h2", "h3"]
LINES = 200


@asynccontextmanager
async def ready(engine, host):
    async with engine.session(host) as session:
        assert "ready" in await session.hear()
        yield session


async def answers(session):
    """Return the milliseconds from saying a line to hearing the answer: median and 95 %."""
    taken = []
    for _ in range(LINES):
        begun = time.perf_counter()
        await session.say("{}")
        assert await session.hear() == "{}"
        taken.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def processes(made, name):
    """Return the processes on a host, without the lab's own: processor seconds, MiB, title."""
    network = Path("/run/netns", f"{made.prefix}{name}").stat().st_ino
    found = {}
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            here = Path(f"/proc/{process.pid}/ns/net").stat().st_ino == network
            if here and "sshd" not in line:
                used, memory = process.cpu_times(), process.memory_full_info().pss / 2**20
                words = [word.rpartition("/")[2] for word in line.split()[:4]]
                found[process.pid] = (used.user + used.system, memory, " ".join(words))
        except (psutil.Error, OSError):
            continue
    return found


async def waiting(made, session, seconds):
    """Let a host wait; return its processes with their share of a core in percent and MiB."""
    before, begun = processes(made, "h1"), time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        await asyncio.sleep(BEAT)
        await session.say("{}")
        await session.hear()
    after = processes(made, "h1")
    return [
        (100 * (after[pid][0] - before[pid][0]) / passed, after[pid][1], after[pid][2])
        for pid in after
        if pid in before
    ]


async def figures(made, seconds):
    known = inventory.load(made.folder / "inventory.yaml")
    for kind in (Remote, OverRay):
        engine = kind(known.hosts, known.state, lambda _: None)
        try:
            await of_engine(made, engine, f"{kind.__name__:8}", seconds)
        finally:
            begun = time.perf_counter()
            await engine.close()
            print(f"{kind.__name__:8} end                    {time.perf_counter() - begun:8.1f} s")


async def of_engine(made, engine, name, seconds):
    begun = time.perf_counter()
    async with ready(engine, "h1") as session:
        print(f"{name} first session          {time.perf_counter() - begun:8.1f} s")
        middle, most = await answers(session)
        print(f"{name} line and answer        {middle:8.1f} ms, p95 {most:.1f} ms")
        await asyncio.sleep(BEAT)
        rows = await waiting(made, session, seconds)
        share, memory = sum(row[0] for row in rows), sum(row[1] for row in rows)
        print(f"{name} waiting for {seconds:4.0f} s     {share:8.2f} % of a core, {memory:.0f} MiB")
        for row in sorted(rows, reverse=True):
            print(f"{'':8}   {row[0]:6.2f} % {row[1]:6.0f} MiB  {row[2]}")
    begun = time.perf_counter()
    async with ready(engine, "h1"):
        print(f"{name} next session           {time.perf_counter() - begun:8.1f} s")
    begun = time.perf_counter()
    async with AsyncExitStack() as stack:
        opened = (stack.enter_async_context(ready(engine, host)) for host in HOSTS)
        await asyncio.gather(*opened)
        print(f"{name} three, two of them new {time.perf_counter() - begun:8.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a host waits")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="figures") as folder, lab(Path(folder), HOSTS) as made:
        made.farm("hosts", "trust", "--yes").communicate()
        with made.inside():
            asyncio.run(figures(made, seconds))


if __name__ == "__main__":
    main()

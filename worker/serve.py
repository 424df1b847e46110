"""A held-open session on a host: jobs come in as lines, records go out as lines.

Lines in: a job; ``{"acknowledge": JOB_ID}`` once its record is stored; ``{}`` to show that the
coordinator is alive. Each record is kept in the spool until it is acknowledged, and sent again when
a session begins: a coordinator that dies loses nothing that was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

from worker.job import Job
from worker.launch import launch

#: Seconds without a line after which the coordinator counts as gone.
LEASE = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.serve", description=__doc__)
    parser.add_argument("folder", type=Path, help="the farm's folder on this host")
    folder = parser.parse_args().folder
    spool = folder / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    for kept in sorted(spool.glob("*.json")):
        _say(kept.read_text())
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=_listen, args=(spool, jobs), daemon=True).start()
    while True:
        job = jobs.get()
        record = launch(job, folder / "builds", folder / "device.lock").model_dump_json()
        _keep(spool / f"{job.id}.json", record)
        _say(record)


def _listen(spool: Path, jobs: SimpleQueue[Job]) -> None:
    """Take lines until the coordinator is gone, then end; a job under way ends with its owner."""
    for line in _lines():
        message = json.loads(line)
        if "acknowledge" in message:
            (spool / f"{message['acknowledge']}.json").unlink(missing_ok=True)
        elif message:
            jobs.put(Job.model_validate(message))
    os._exit(0)


def _lines() -> Iterator[bytes]:
    """Yield lines of standard input; end with it, or when none came for as long as the lease."""
    rest = b""
    while select.select([0], [], [], LEASE)[0] and (piece := os.read(0, 65536)):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _keep(path: Path, record: str) -> None:
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(record)
    unfinished.replace(path)


def _say(record: str) -> None:
    sys.stdout.write(record + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

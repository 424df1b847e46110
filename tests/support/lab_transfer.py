"""How long a load of wheels takes to a host: ``python tests/support/lab_transfer.py`` (needs root).

Prints a table of megabytes, seconds and megabytes a second over SSH between two namespaces.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from farm.hosts import transfer
from farm.hosts.ssh.connection import Connection
from farm.plan import inventory
from lab import lab

SIZES = (17, 34, 68, 136)  # MB


def main() -> None:
    print("MB  seconds  MB/s")  # noqa: T201  what it is for
    with tempfile.TemporaryDirectory() as text, lab(Path(text), ["h1"]) as made:
        trust = made.farm("hosts", "trust", "--yes")
        trust.communicate()
        known = inventory.load(made.folder / "inventory.yaml")
        wheel = made.folder / "a.whl"
        with made.inside(), Connection("h1", known.hosts, known.state / "known_hosts") as there:
            for size in SIZES:
                wheel.write_bytes(os.urandom(1_000_000) * size)
                begun = time.perf_counter()
                python = known.hosts["h1"].python
                transfer.send(there, python, f"{text}/farm/wheels/{size}", {"a.whl": wheel})
                seconds = time.perf_counter() - begun
                print(f"{size:3d}  {seconds:7.1f}  {size / seconds:4.1f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

"""What engines cost, in a lab of three hosts: ``python tests/support/lab_figures.py`` (root).

For each engine: how long hosts take to come up the first and the second time, how soon a job's
process starts after its lease, what the farm's own processes use of a host while it measures, and
whether the records are the same set for every engine. Each prints a table.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

import psutil

from lab import REPOSITORY, Lab, lab
from worker.record import Record

HOSTS = ["h1", "h2", "h3"]
LONG = """
description: one cell that takes a while
models: [reference]
deadline: 300
caches: {turbo: {kind: turbo, key_bits: 4, value_bits: 4}}
cells:
- {benchmark: decode, contexts: [512], params: {tokens: 64, trials: 160}}
"""
WATCHED = 20.0  # seconds
Rows = list[tuple[str, str]]
Records = dict[str, set[tuple[str, str, tuple[str, ...]]]]


def figures(engine: str) -> tuple[Rows, Records]:
    """Return the rows of an engine's table, and what was recorded on each host."""
    with tempfile.TemporaryDirectory(prefix="figures") as name, lab(Path(name), HOSTS) as made:
        (made.folder / "long.yaml").write_text(LONG)
        _farm(made, "hosts", "trust", "--yes")
        rows: Rows = []
        for time_of in ("first run", "second run"):
            begun = time.perf_counter()
            errors = _farm(made, "run", "--suite", "smoke", "--engine", engine)
            rows.append((f"{time_of}, whole", f"{time.perf_counter() - begun:.1f} s"))
            ups = [line.rpartition(" ")[0].rpartition(" ")[2] for line in errors.splitlines()
                   if ": up after " in line]  # fmt: skip
            rows.append((f"{time_of}, hosts up after", ", ".join(ups) + " s"))
            rows.append((f"{time_of}, steps done", str(errors.count(": done"))))
        rows.append(("lease to start, p50, p95", _dispatch(made)))
        rows += _watch(made, engine)
        begun = time.perf_counter()
        _farm(made, "hosts", "down", "--purge")
        rows.append(("down and purged", f"{time.perf_counter() - begun:.1f} s"))
        rows.append(("processes left", str(len(_own(made)))))
        return rows, _recorded(made.folder)


def local() -> Records:
    """Return what this machine records for the same suite by its own processes."""
    with tempfile.TemporaryDirectory(prefix="figures") as name:
        folder = Path(name)
        (folder / "inventory.yaml").write_text(f"subject: {{repository: {REPOSITORY}}}\n")
        command = [sys.executable, "-m", "farm", "run", "--suite", "smoke"]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HOME": name}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        return _recorded(folder)


def _farm(made: Lab, *arguments: str) -> str:
    process = made.farm(*arguments)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)
    return errors


def _dispatch(made: Lab) -> str:
    query = "SELECT record.started - attempt.leased FROM record JOIN attempt USING (job_id)"
    with sqlite3.connect(made.folder / ".farm" / "farm.db") as connection:
        cuts = quantiles([wait for (wait,) in connection.execute(query)], n=20)
    connection.close()
    return f"{1000 * cuts[9]:.0f} ms, {1000 * cuts[18]:.0f} ms"


def _recorded(folder: Path) -> Records:
    """Return cell, status and metrics of every good record, by host."""
    with sqlite3.connect(folder / ".farm" / "farm.db") as connection:
        documents = connection.execute("SELECT document FROM record").fetchall()
    connection.close()
    found: Records = {}
    for (document,) in documents:
        record = Record.model_validate_json(document)
        if record.job.cell.params.get("trials") != 160:  # the long cell is of this script alone
            metrics = tuple(sorted({sample.metric for sample in record.samples}))
            row = (record.job.cell.id, f"{record.status} {record.build_hash}", metrics)
            found.setdefault(record.place, set()).add(row)
    return found


def _watch(made: Lab, engine: str) -> Rows:
    """Measure what all but the worker itself uses of h1 while h1 decodes."""
    process = made.farm("run", "--suite", "long.yaml", "--host", "h1", "--engine", engine)
    while not any("--builds" in one.cmdline() for one in _own(made)):
        if process.poll() is not None:
            raise RuntimeError(process.communicate()[1])
        time.sleep(0.5)
    time.sleep(5.0)
    others = [one for one in _on_host(made) if "--builds" not in one.cmdline()]
    before = {one: sum(one.cpu_times()[:2]) for one in others}
    time.sleep(WATCHED)
    used = sum(sum(one.cpu_times()[:2]) - before[one] for one in others if one.is_running())
    memory = sum(one.memory_full_info().uss for one in others if one.is_running()) / 1e6
    process.communicate()
    return [
        ("of a core on a host that measures", f"{100 * used / WATCHED:.2f} %"),
        ("memory there, beside the worker", f"{memory:.0f} MB in {len(others)} processes"),
    ]


def _on_host(made: Lab) -> list[psutil.Process]:
    """Return all processes of h1: what its first process has started, and the orphans of that."""
    space = _space(made.first("h1"))
    found = []
    for one in psutil.process_iter():
        try:
            if _space(one.pid) == space:
                found.append(one)
        except OSError:
            continue
    return found


def _space(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _own(made: Lab) -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if f"{made.folder}/h" in " ".join(one.info["cmdline"] or [])
        and "sshd" not in " ".join(one.info["cmdline"])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engines", nargs="*", default=["ssh", "ray"])
    args = parser.parse_args()
    (here,) = local().values()
    for engine in args.engines:
        rows, records = figures(engine)
        same = all(found == here for found in records.values()) and len(records) == len(HOSTS)
        rows.append(("records as by local processes", "the same" if same else "OTHERS"))
        for title, figure in rows:
            print(f"{engine:4} {title:36} {figure}", flush=True)  # noqa: T201  a script's table


if __name__ == "__main__":
    main()

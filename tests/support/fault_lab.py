"""Faults on real processes and links: ``python tests/support/fault_lab.py`` (root).

Three hosts measure small cells while something is broken every few seconds; in the end every job
must have one record, no device may have measured two things at once, and nothing may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab import REPOSITORY, Lab, lab

HOSTS = ["h1", "h2", "h3"]
CELLS = 12
SUITE = """
description: small cells, some of them for any of two hosts
models: [reference]
deadline: 60
caches: {turbo: {kind: turbo, key_bits: 4, value_bits: 4}}
cells:
- {benchmark: memory, contexts: [%s], params: {tokens: 2}}
"""
# The subject tells when two processes measure on one host: each holds a lock until it ends.
WITNESS = """
import fcntl as _fcntl
from pathlib import Path as _Path
_host = _Path(__file__).parents[3]
_held = open(_host / "witness.lock", "a")
try:
    _fcntl.flock(_held, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
except BlockingIOError:
    with open(_host / "overlaps", "a") as _file:
        _file.write("overlap\\n")
"""


@dataclass
class Outcome:
    """What was done and found; ``missing``, ``twice``, ``overlaps`` and ``left`` must be 0."""

    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    jobs: int = 0
    missing: int = 0
    twice: int = 0
    overlaps: int = 0
    left: int = 0
    lost: int = 0
    late: int = 0
    attempts: int = 0
    seconds: float = 0.0


class Campaign:
    """Runs of ``farm`` in a lab, and what is done to them."""

    def __init__(self, made: Lab, engine: str, seed: int, kinds: list[str]) -> None:
        self._lab, self._engine = made, engine
        self._rng = random.Random(seed)  # noqa: S311
        self._kinds, self.outcome = kinds, Outcome()
        self._farm: subprocess.Popen[str] | None = None
        self._full: set[str] = set()
        self._mend: list[tuple[float, Callable[[], None]]] = []

    def whole(self, faults: int) -> Outcome:
        """Run, break and resume until so many faults were injected and nothing is pending."""
        begun = time.monotonic()
        while self.outcome.faults.total() < faults:
            self.outcome.runs += 1
            arguments = ["run", "--suite", "mine.yaml"]
            while self._run([*arguments, "--engine", self._engine], faults):
                arguments = ["run", "--resume"]
        self._mend_all(float("inf"))
        self._last_words()
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def _run(self, arguments: list[str], faults: int) -> bool:
        """Run ``farm`` to its end while faults are injected; tell whether jobs are pending."""
        self._farm = self._lab.farm(*arguments)
        again = time.monotonic() + 4.0
        while self._farm.poll() is None:
            self._mend_all(time.monotonic())
            if time.monotonic() > again and self.outcome.faults.total() < faults:
                self._break()
                again = time.monotonic() + self._rng.uniform(1.0, 5.0)
            with suppress(subprocess.TimeoutExpired):
                self._farm.communicate(timeout=0.2)
        if self._farm.returncode == 2:
            raise RuntimeError("farm refused its configuration")
        return bool(self._pending())

    def _break(self) -> None:
        kind, host = self._rng.choice(self._kinds), self._rng.choice(HOSTS)
        if getattr(self, kind)(host):
            self.outcome.faults[kind] += 1

    def _mend_all(self, now: float) -> None:
        due = [mend for when, mend in self._mend if when <= now]
        self._mend = [one for one in self._mend if one[0] > now]
        for mend in due:
            mend()

    def _later(self, seconds: float, mend: Callable[[], None]) -> None:
        self._mend.append((time.monotonic() + seconds, mend))

    # Each fault returns whether there was something to break.

    def worker_killed(self, host: str) -> bool:
        return self._signal(self._workers(host), signal.SIGKILL)

    def worker_stopped(self, host: str) -> bool:
        return self._stop(self._workers(host), 5.0)

    def session_killed(self, host: str) -> bool:
        return self._signal(self._sessions(host), signal.SIGKILL)

    def session_stopped(self, host: str) -> bool:
        return self._stop(self._sessions(host), self._rng.choice([3.0, 16.0]))

    def coordinator_killed(self, _: str) -> bool:
        if self._farm:
            self._farm.kill()
        return True

    def host_crashed(self, host: str) -> bool:
        if host not in self._lab.servers:
            return False
        self._lab.crash(host)
        self._later(self._rng.uniform(1.0, 8.0), lambda: self._lab.start(host))
        return True

    def link_cut(self, host: str) -> bool:
        self._lab.link(host, "down")
        seconds = self._rng.choice([3.0, 3.0, 10.0, 10.0, 25.0])
        self._later(seconds, lambda: self._lab.link(host, "up"))
        return True

    def disk_full(self, host: str) -> bool:
        kept = self._lab.folder / host / "farm" / "kept"
        if not kept.is_dir() or host not in self._lab.servers or host in self._full:
            return False
        self._full.add(host)
        self._lab.fill(host, kept)
        self._later(6.0, lambda: self._drain(host, kept))
        return True

    def _drain(self, host: str, kept: Path) -> None:
        self._full.discard(host)
        # A host that crashed meanwhile has come up without what was mounted.
        with suppress(subprocess.CalledProcessError, KeyError):
            self._lab.drain(host, kept)

    def _stop(self, pids: list[int], seconds: float) -> bool:
        self._later(seconds, lambda: self._signal(pids, signal.SIGCONT) and None)
        return self._signal(pids, signal.SIGSTOP)

    def _signal(self, pids: list[int], number: int) -> bool:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(pids)

    def _workers(self, host: str) -> list[int]:
        return list(processes(f"worker\0--builds\0{self._lab.folder}/{host}/"))

    def _sessions(self, host: str) -> list[int]:
        return list(processes(f"worker.process.serve\0{self._lab.folder}/{host}/"))

    def _pending(self) -> int:
        join = "record ON record.job_id = job.id"
        query = f"SELECT count(*) FROM job LEFT JOIN {join} WHERE record.id IS NULL"  # noqa: S608
        return self._ask(query)

    def _last_words(self) -> None:
        """Let what was orphaned notice it, then count."""
        patience = time.monotonic() + 40.0
        while time.monotonic() < patience and any(self._left()):
            time.sleep(0.5)
        found = self.outcome
        found.left = len(list(self._left()))
        found.jobs = self._ask("SELECT count(*) FROM job")
        found.missing = self._pending()
        found.twice = (
            found.jobs - found.missing - self._ask("SELECT count(DISTINCT job_id) FROM record")
        )
        found.late = self._ask("SELECT count(*) FROM late_record")
        found.attempts = self._ask("SELECT count(*) FROM attempt")
        found.lost = self._ask(
            "SELECT count(*) FROM record WHERE json_extract(document, '$.failure.kind') = 'lost'"
        )
        for host in HOSTS:
            overlaps = self._lab.folder / host / "farm" / "overlaps"
            found.overlaps += len(overlaps.read_text().splitlines()) if overlaps.exists() else 0

    def _left(self) -> Iterator[int]:
        return processes(f"{self._lab.folder}/")

    def _ask(self, query: str) -> int:
        path = self._lab.folder / ".farm" / "farm.db"
        if not path.exists():
            return 0
        with sqlite3.connect(path, timeout=30.0) as connection:
            (count,) = connection.execute(query).fetchone()
        connection.close()
        return int(count)


def processes(part: str) -> Iterator[int]:
    """Yield the processes of Python whose command line has this part."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_text()
            if part in line and "python" in line.partition("\0")[0]:
                yield int(path.parent.name)


KINDS = [
    "worker_killed", "worker_stopped", "session_killed", "session_stopped", "coordinator_killed",
    "host_crashed", "link_cut", "disk_full",
]  # fmt: skip


def campaign(folder: Path, faults: int, engine: str, seed: int) -> Outcome:
    """Break so many things in a lab of three hosts, two of them of one class."""
    contexts = ", ".join(str(160 + number) for number in range(CELLS))
    (folder / "mine.yaml").write_text(SUITE % contexts)
    subject = folder / "subject" / "turbo"
    shutil.copytree(REPOSITORY / "worker" / "turbo", subject)
    with (subject / "__init__.py").open("a") as file:
        file.write(WITNESS)
    with lab(folder, HOSTS) as made:
        inventory = folder / "inventory.yaml"
        there = f"repository: {subject.parent}, path: turbo}}"
        text = inventory.read_text().replace(f"repository: {REPOSITORY}}}", there)
        for host in HOSTS[:2]:
            text = text.replace(f"  {host}: {{", f"  {host}: {{class: pair, ")
        inventory.write_text(text)
        made.farm("hosts", "trust", "--yes").communicate()
        return Campaign(made, engine, seed, KINDS).whole(faults)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--engine", default="ssh")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        outcome = campaign(Path(name), args.faults, args.engine, args.seed)
    for title, figure in [*sorted(outcome.faults.items()), *list(vars(outcome).items())[1:]]:
        print(f"{title:20} {figure}")  # noqa: T201  a script's table


if __name__ == "__main__":
    main()

"""``farm`` in a process of its own whose measurements are drawn: ``python fake_farm.py gate ...``.

Only the hosts' processes are fake. Each build tells its own truth in ``truth.json``.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from db import store
from fake_measure import FakeFarm
from farm.__main__ import main
from farm.campaign import campaign as measuring
from farm.campaign import spool
from programs import script, words
from worker.job import Job

TESTS = Path(__file__).parent
SWINGS = (-3, 1, -1, 3)
SUITE = """
description: decode of the turbo cache
models: [reference]
caches: {turbo: {kind: turbo}}
cells:
  - {benchmark: decode, contexts: [512]}
"""


def measure(campaign, host):
    """Stand in for ``Campaign.measure``: draw what the build's files tell, and store it.

    A build that swings has four speeds in turns, so that nobody can tell which is its own.
    """
    drawn = FakeFarm()
    turns: Counter[str] = Counter()

    def one(build, cell, repetition):
        (path,) = (campaign.spool.parent / "builds" / build.hash / "turbo").rglob("truth.json")
        truth = json.loads(path.read_text())
        turns[build.hash] += 1
        swing = truth.get("swing", 0.0) * SWINGS[turns[build.hash] % len(SWINGS)]
        drawn.speed[build.hash] = truth["speed"] * math.exp(swing)
        job = Job(run=campaign.run, host=host, build=build, cell=cell, repetition=repetition)
        store.record_run(campaign.engine, campaign.run, campaign.suite, time.time(), [job])
        record = drawn(build, cell, repetition, host)
        record = record.model_copy(update={"job": job, "started": time.time()})
        spool.store(campaign.engine, record, campaign.spool)
        return record

    return one


class Project:
    """A git repository with the subject, an inventory and a suite; its commits are tagged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "worker" / "turbo"
        self.package.mkdir(parents=True)
        self.git("init", "-qb", "main")
        self.git("config", "user.email", "a@b.c")
        self.git("config", "user.name", "a")
        (folder / "inventory.yaml").write_text("hosts: {mini: {local: true}}\n")
        (folder / "decode.yaml").write_text(SUITE)
        (folder / ".gitignore").write_text(".farm/\n")

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, tag: str, **truth: float) -> str:
        (self.package / "truth.json").write_text(json.dumps(truth | {"tag": tag}))
        self.git("add", ".")
        self.git("commit", "-qm", tag)
        self.git("tag", tag)
        return self.git("rev-parse", "HEAD")


def command(folder: Path) -> Path:
    """Write a ``farm`` for a PATH that runs this file; return it."""
    return script(folder / "farm", f'exec {shlex.join(words("fake_farm"))} "$@"')


def environment(**more: str) -> dict[str, str]:
    """Return the environment that runs ``command``."""
    path = os.pathsep.join([str(TESTS.parents[1]), str(TESTS)])
    return os.environ | {"PYTHONPATH": path} | more


def run(given: Sequence[str]) -> int:
    measuring.Campaign.measure = measure
    # The machine is real: what keeps it busy is no matter for a farm whose figures are made.
    waits = given[:1] and given[0] in {"run", "gate", "nightly", "bisect", "backfill"}
    return main([*given[:1], *(["--anyway"] if waits else []), *given[1:]])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

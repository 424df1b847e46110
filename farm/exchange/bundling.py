"""Make the bundle of a run on this machine: its records, and what others need to believe them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from farm.exchange import bundle
from farm.exchange.redaction import Redaction
from farm.hosts.bootstrap import harness_hash
from worker.conformance import Conformance
from worker.machine.environment.bundle import collect, replay
from worker.record import Record

PATIENCE = 300.0  # seconds for the golden vectors of one build, whose kernels may be compiled first


def send_off(
    path: Path,
    run: str,
    suite: str,
    records: Sequence[Record],
    builds: Path,
    redaction: Redaction,
) -> None:
    """Write a run's bundle, redacted; a process of its own checks each build's conformance."""
    hashes = tuple(dict.fromkeys(record.job.build.hash for record in records))
    manifest = bundle.Manifest(
        run=run,
        suite=suite,
        harness=harness_hash(),
        builds=hashes,
        environment=replay(collect()),
        conformance={build: conformance(builds, build) for build in hashes},
        records="",
    )
    bundle.write(path, redaction.model(manifest), [redaction.model(one) for one in records])


def conformance(builds: Path, build: str) -> Conformance:
    """Check a build's golden vectors; what hinders that is told in the report."""
    command = [sys.executable, "-m", "worker.conformance", "--builds", str(builds), build]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return Conformance.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        return Conformance(unknown=f"not done after {PATIENCE:g} s")
    except ValidationError:
        last = done.stderr.strip().rpartition("\n")[2]
        return Conformance(unknown=f"the check ended with {done.returncode}: {last}")

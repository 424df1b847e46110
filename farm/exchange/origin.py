"""Records of other farms: they keep the name of where they came from, and never pass for ours."""

from __future__ import annotations

import re
from pathlib import Path

from worker.record import Environment, Record

ORIGIN = re.compile(r"[A-Za-z0-9._-]{1,40}")


def of_file(path: Path) -> str:
    """Return the origin that a file's name suggests."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:40].strip("-") or "elsewhere"


def stamped(record: Record, origin: str, harness: str = "unknown") -> Record:
    """Return a record whose run, hosts and device say that it came from ``origin``.

    So it belongs to series of its own: those of a device's name join what was measured on it. A
    record that is stamped twice alike is the same twice. ``harness`` decides comparability, since
    others may measure with another version.
    """
    job = record.job.model_copy(
        update={"run": f"{record.job.run}@{origin}", "host": f"{record.job.host}@{origin}"}
    )
    return record.model_copy(
        update={
            "job": job,
            "host": f"{record.host}@{origin}" if record.host else None,
            "environment": _environment(record.environment, origin, harness),
        }
    )


def _environment(environment: Environment, origin: str, harness: str) -> Environment:
    device = f"{environment.device} (from {origin})"
    named = {"device": device, "origin": origin, "harness": harness}
    return environment.model_copy(
        update={
            "facts": environment.facts | named,
            "comparable": tuple(dict.fromkeys((*environment.comparable, *named))),
        }
    )

"""What this process knows of itself without asking: versions, load, clock, context."""

from __future__ import annotations

import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worker.machine.environment.facts import possible
from worker.record import Environment, Fact

PACKAGES = {"mlx": "mlx", "mlx_lm": "mlx-lm", "numpy": "numpy"}
CONTEXTS = "neither SSH_CONNECTION nor XPC_SERVICE_NAME says who started this process"


def probe() -> Environment:
    facts: dict[str, Fact] = {
        "python": platform.python_version(),
        "python_minor": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "nice": os.nice(0),
        "logical_cores": os.cpu_count() or 1,
        "clock": time.time(),
        "clock_resolution": time.get_clock_info("perf_counter").resolution,
    }
    unknown = {}
    for name, package in PACKAGES.items():
        try:
            facts[name] = version(package)
        except PackageNotFoundError:
            unknown[name] = f"{package} is not installed"
    try:
        facts["disk_free"] = shutil.disk_usage(Path.home()).free
    except OSError as error:
        unknown["disk_free"] = f"the home folder: {error.strerror or error}"
    context = started_by(os.environ.get("SSH_CONNECTION"), os.environ.get("XPC_SERVICE_NAME"))
    if context is None:
        unknown["context"] = CONTEXTS
    else:
        facts["context"] = context
    facts, doubts = possible(facts)
    return Environment(facts=facts, unknown=unknown | doubts)


def started_by(ssh: str | None, service: str | None) -> str | None:
    """Tell who started this process; terminals are services named application.*."""
    if ssh:
        return "ssh"
    if service in {None, "", "0"}:
        return None
    return "application" if service.startswith("application.") else "launchd"

"""What this process knows of itself without asking: versions, load, clock, context."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

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
    context = started_by(os.environ.get("SSH_CONNECTION"), os.environ.get("XPC_SERVICE_NAME"))
    if context is None:
        unknown["context"] = CONTEXTS
    else:
        facts["context"] = context
    return Environment(facts=facts, unknown=unknown)


def started_by(ssh: str | None, service: str | None) -> str | None:
    """Tell who started this process; terminals are services named application.*."""
    if ssh:
        return "ssh"
    if service in {None, "", "0"}:
        return None
    return "application" if service.startswith("application.") else "launchd"

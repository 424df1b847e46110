"""Builds with a known fault: the subject inside a wrapper that makes every decode step longer.

A gate that is to be believed must notice them, and must not notice a wrapper that adds nothing.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from farm.plan.builds import unpack
from farm.plan.suite import Injection
from worker.build import PACKAGE
from worker.job import Build

WRAPPER = Path(__file__).parent / "wrapper"


def injected(build: Build, injection: Injection, builds: Path, begun: float | None = None) -> Build:
    """Unpack a wrapped copy of a build that is unpacked already.

    ``begun`` is when the drift starts, in seconds since 1970; now by default.
    """
    folder = builds / build.hash / PACKAGE
    files = {
        f"subject/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    for path in WRAPPER.glob("*.py"):
        files[path.name] = path.read_bytes()
    document = injection.model_dump() | {"begun": time.time() if begun is None else begun}
    files["injection.json"] = json.dumps(document).encode()
    return Build(hash=unpack(files, builds), commit=build.commit, dirty=build.dirty)

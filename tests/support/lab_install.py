"""How long the real lock takes to a host without network: ``python tests/support/lab_install.py``.

Needs root, and a folder of wheels, which ``--wheels`` names: it is filled from the package index
where it has none. Prints a row for each way that a host installs by: pip, and uv where it is here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from farm.hosts.bootstrap import LOCK
from lab import Lab, lab

DOWNLOAD = [
    *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
    *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, required=True)
    wheels = parser.parse_args().wheels.resolve()
    if not list(wheels.glob("*.whl")):
        subprocess.run([*DOWNLOAD, "-r", str(LOCK), "-d", str(wheels)], check=True)
    found = list(wheels.glob("*.whl"))
    size = sum(path.stat().st_size for path in found) / 1e6
    print(f"{len(found)} wheels, {size:.0f} MB")  # noqa: T201  what it is for
    print("by   host up   again   a job")  # noqa: T201
    for way in ("pip", *(["uv"] if shutil.which("uv") else [])):
        with tempfile.TemporaryDirectory(prefix="install") as name, lab(Path(name), ["h1"]) as made:
            row = _installed(made, wheels)
        print(f"{way:4}" + "".join(f"{seconds:6.1f} s" for seconds in row), flush=True)  # noqa: T201


def _installed(made: Lab, wheels: Path) -> list[float]:
    path = made.folder / "inventory.yaml"
    text = path.read_text().replace("environment: provided", f"wheels: {wheels}")
    path.write_text(text.replace(f"python: {sys.executable}", f"python: {_bare()}"))
    _farm(made, "hosts", "trust", "--yes")
    smoke = ("run", "--suite", "smoke", "--set", "tokens=4")
    return [_farm(made, *words) for words in (("hosts", "up"), ("hosts", "up"), smoke)]


def _bare() -> str:
    """Return this Python without its environment's packages, as a host has one."""
    return os.path.realpath(sys.executable)


def _farm(made: Lab, *arguments: str) -> float:
    begun = time.perf_counter()
    process = made.farm(*arguments)
    output, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{output}\n{errors}")
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

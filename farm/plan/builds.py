"""The subject's builds: the working tree or any commit, unpacked under the hash of its content."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from farm.errors import FarmError
from farm.plan.inventory import Subject
from worker.build import PACKAGE, counts, files_hash
from worker.job import Build

Files = Mapping[str, bytes]


def working_tree(subject: Subject, builds: Path) -> Build:
    """Unpack the subject as it lies on disk, uncommitted changes included."""
    folder = subject.repository / subject.path
    if not folder.is_dir():
        raise FarmError(f"subject: {folder}: no such folder; correct 'subject' in the inventory")
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    name = unpack(files, builds)
    commit, dirty = _head(subject)
    return Build(hash=name, commit=commit, dirty=dirty)


def at_commit(subject: Subject, revision: str, builds: Path) -> Build:
    """Unpack the subject as a commit has it; raises FarmError if there is no such thing."""
    commit = git(subject, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise FarmError(f"commit {revision!r}: not in {subject.repository}; fetch it first")
    archive = git(subject, "archive", "--format=tar", commit.decode().strip(), "--", subject.path)
    if archive is None:
        raise FarmError(f"commit {revision!r}: has no {subject.path}; choose another commit")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                path = PurePosixPath(member.name).relative_to(subject.path)
                files[path.as_posix()] = content.read()
    return Build(hash=unpack(files, builds), commit=commit.decode().strip())


def unpack(files: Files, builds: Path) -> str:
    """Write the files that count to ``builds/HASH/turbo`` in one step, unless they are there.

    Returns the hash.
    """
    kept = {path: content for path, content in files.items() if counts(PurePosixPath(path))}
    name = files_hash(kept.items())
    if (builds / name).is_dir():
        return name
    builds.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=builds))
    for path, content in kept.items():
        target = folder / PACKAGE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    try:
        folder.replace(builds / name)
    except OSError:
        # Another farm was faster; the same name holds the same bytes.
        shutil.rmtree(folder)
    return name


def _head(subject: Subject) -> tuple[str | None, bool]:
    commit = git(subject, "rev-parse", "HEAD")
    if commit is None:
        return None, False
    changes = git(subject, "status", "--porcelain", "--", subject.path)
    return commit.decode().strip(), bool(changes)


def git(subject: Subject, *arguments: str) -> bytes | None:
    """Return what git prints in the subject's repository, or None if it refuses or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(subject.repository), *arguments],
            capture_output=True,
            check=False,
            # A hook's environment would point git at another repository.
            env={key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None

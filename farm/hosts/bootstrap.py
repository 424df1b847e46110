"""Bring a host up: steps, each of which looks whether it is satisfied before it does anything.

Everything on the host lies in the farm's own folder, in folders named by the hash of their content.
Harness and builds are put there in one move: what exists is complete.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import worker
from farm.errors import HostError, HostRefusedError
from farm.hosts.ssh import Connection
from worker.build import PACKAGE, files_hash

LOCK = Path(__file__).parent / "worker-requirements.txt"
QUICK, SLOW = 60.0, 1800.0  # seconds: for a look, for an installation

_UNPACK = """
import os, sys, tarfile, tempfile
place = sys.argv[1]
os.makedirs(os.path.dirname(place), exist_ok=True)
folder = tempfile.mkdtemp(dir=os.path.dirname(place))
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
    tar.extractall(folder, filter="data")
if not os.path.isdir(place):
    os.rename(folder, place)
"""
_LOOK = "import os, sys; sys.exit(0 if os.path.isdir(sys.argv[1]) else 1)"
_FACTS = """
import json, os, shutil, subprocess, sys, time
if sys.platform == "darwin":
    ask = ["sysctl", "-n", "kern.bootsessionuuid"]
    machine = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
else:
    machine = open("/proc/sys/kernel/random/boot_id").read().strip()
print(json.dumps({"machine": machine, "python": sys.version.split()[0], "time": time.time(),
                  "free": shutil.disk_usage(os.path.expanduser("~")).free}))
"""
_INSTALL = """
import subprocess, sys, venv
(place, wheels), lock = sys.argv[1:], sys.stdin.buffer.read()
venv.create(place, clear=True, with_pip=True)
open(place + "/lock.txt", "wb").write(lock)
source = ["--no-index", "--find-links", wheels] if wheels else []
subprocess.run([place + "/bin/python", "-m", "pip", "install", "--quiet", *source,
                "--require-hashes", "--no-deps", "-r", place + "/lock.txt"], check=True)
"""


@dataclass(frozen=True)
class Step:
    """One thing that a host needs: what it is, whether it is there, and how to get it there."""

    name: str
    satisfied: Callable[[], bool]
    apply: Callable[[], None]


@dataclass(frozen=True)
class Site:
    """Where things lie on a host, as paths from the user's home."""

    connection: Connection
    harness: str
    python: str

    @property
    def folder(self) -> str:
        return self.connection.host.folder

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs the harness's Python with these arguments."""
        paths = [f"PYTHONPATH={self.harness}", "PYTHONDONTWRITEBYTECODE=1"]
        return ["env", *paths, self.python, *arguments]


def site(connection: Connection) -> Site:
    """Return where this farm's harness and Python are, or will be, on a host."""
    host = connection.host
    environment = files_hash([("lock", LOCK.read_bytes())])
    managed = f"{host.folder}/environments/{environment}/bin/python"
    return Site(
        connection,
        harness=f"{host.folder}/harness/{harness_hash()}",
        python=managed if host.environment == "managed" else host.python,
    )


def steps(place: Site, builds: dict[str, Path]) -> Iterator[Step]:
    """Yield what a host needs before it can measure these builds (folders by hash), in order."""
    yield Step("python 3.11 or newer", lambda: _facts(place)["python"] is not None, lambda: None)
    yield Step("environment", lambda: _has_packages(place), lambda: _install(place))
    yield _folder(place, "harness", place.harness, _harness())
    for name, folder in builds.items():
        yield build_step(place, name, folder)


def build_step(place: Site, name: str, folder: Path) -> Step:
    """Return the step that puts a build, unpacked in ``folder``, on a host under its hash."""
    files = {
        f"{PACKAGE}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return _folder(place, f"build {name}", f"{place.folder}/builds/{name}", files)


def bring_up(place: Site, wanted: Iterable[Step]) -> Iterator[tuple[str, str]]:
    """Do what is not done yet; yield each step with ``was there`` or ``done``.

    Raises HostError when a step is not satisfied after it was applied.
    """
    for step in wanted:
        state = "was there"
        if not step.satisfied():
            step.apply()
            state = "done"
            if not step.satisfied():
                name = place.connection.name
                raise HostError(f"host {name!r}: {step.name}: still missing; try again")
        yield step.name, state


def machine(place: Site) -> str:
    """Return what names the machine as long as it runs: two names of one machine share it."""
    return str(_facts(place)["machine"])


def facts(connection: Connection) -> dict[str, float | str]:
    """Return the host's Python version, clock (seconds since 1970) and free disk (bytes)."""
    return _facts(site(connection))


def purge(connection: Connection) -> None:
    """Delete the farm's folder from a host."""
    delete = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)"
    _python(connection, delete, [connection.host.folder], SLOW)


def _facts(place: Site) -> dict[str, float | str]:
    connection = place.connection
    found: dict[str, float | str] = json.loads(_python(connection, _FACTS, [], QUICK))
    major, minor = str(found["python"]).split(".")[:2]
    if (int(major), int(minor)) < (3, 11):
        raise HostRefusedError(
            f"host {connection.name!r}: {connection.host.python} is Python {found['python']}, too "
            "old; install 3.11 or newer and name it by 'python' in the inventory"
        )
    return found


def _has_packages(place: Site) -> bool:
    look = "import mlx.core, mlx_lm, numpy, psutil, pydantic"
    done = place.connection.run([place.python, "-c", look], QUICK)
    if done.status != 0 and place.connection.host.environment == "provided":
        last = done.errors.strip().rpartition("\n")[2]
        raise HostRefusedError(
            f"host {place.connection.name!r}: {place.python} lacks a package ({last}); install it, "
            "or let the farm make the environment (environment: managed)"
        )
    return done.status == 0


def _install(place: Site) -> None:
    """Make the environment from the package index, or from wheels that are carried there."""
    folder = place.python.removesuffix("/bin/python")
    wheels = _carry(place) if place.connection.host.wheels else ""
    _python(place.connection, _INSTALL, [folder, wheels], SLOW, LOCK.read_bytes())


def _carry(place: Site) -> str:
    """Send the host's wheels; return where they lie there."""
    source = Path(str(place.connection.host.wheels)).expanduser()
    files = {path.name: path.read_bytes() for path in sorted(source.glob("*.whl"))}
    if not files:
        raise HostRefusedError(
            f"host {place.connection.name!r}: {source} has no wheels; fill it with: "
            f"pip download -r {LOCK} -d {source}"
        )
    folder = f"{place.folder}/wheels/{files_hash(files.items())}"
    _send(place.connection, folder, files)
    return folder


def _folder(place: Site, name: str, path: str, files: dict[str, bytes]) -> Step:
    connection = place.connection
    look = [connection.host.python, "-c", _LOOK, path]
    return Step(
        name,
        satisfied=lambda: connection.run(look, QUICK).status == 0,
        apply=lambda: _send(connection, path, files),
    )


def _send(connection: Connection, path: str, files: dict[str, bytes]) -> None:
    _python(connection, _UNPACK, [path], SLOW, _tar(files))


def _python(
    connection: Connection, code: str, arguments: list[str], deadline: float, stdin: bytes = b""
) -> str:
    python = connection.host.python
    done = connection.run([python, "-c", code, *arguments], deadline, stdin)
    if done.status != 0:
        why = done.errors.strip().rpartition("\n")[2] or f"status {done.status}"
        raise HostError(
            f"host {connection.name!r}: {python}: {why}; see 'python' in the inventory and the "
            "space on the disk"
        )
    return done.output


def harness_hash() -> str:
    """Name the harness of this farm by its bytes."""
    return files_hash(_harness().items())


def _harness() -> dict[str, bytes]:
    root = Path(worker.__file__).parent
    return {
        f"worker/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _tar(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return whole.getvalue()

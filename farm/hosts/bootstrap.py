"""Bring a host up: steps, each of which looks whether it is satisfied before it does anything.

Everything on the host lies in the farm's own folder, in folders named by the hash of their content;
environments are named by the lock and by the Python that they were made with. What exists is
complete: harness, builds and wheels are moved to their place in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import worker
from farm.errors import HostError, HostRefusedError
from farm.hosts import python, transfer
from farm.hosts.answers import QUICK, SLOW, succeeded
from farm.hosts.python import Python
from farm.hosts.said import telling
from farm.hosts.ssh.connection import Connection
from farm.hosts.transfer import Tell
from worker.build import PACKAGE, counts, files_hash

LOCK = Path(__file__).parent / "worker-requirements.txt"

_LOOK = "import os, sys; sys.exit(0 if os.path.isdir(sys.argv[1]) else 1)"
#: By uv where it is and can, which takes seconds, else by pip; what is not whole is removed.
_INSTALL = """
import importlib.util, os, shutil, subprocess, sys
(place, wheels), lock = sys.argv[1:], sys.stdin.buffer.read()
python, listed = place + "/bin/python", place + "/lock.txt"
source = ["--no-index", "--find-links", wheels] if wheels else []
pinned = [*source, "--require-hashes", "--no-deps", "-r", listed]
def run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL).returncode
def written():
    open(listed, "wb").write(lock)
    return True
def with_uv(uv):
    return (run(uv, "venv", "--quiet", "--python", sys.executable, place) == 0 and written()
            and run(uv, "pip", "install", "--quiet", "--python", python, *pinned) == 0)
def with_pip():
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit("ERROR: this Python makes no environments: install python3-venv, or uv")
    made = run(sys.executable, "-m", "venv", "--clear", place) == 0
    return made and written() and run(python, "-m", "pip", "install", "--quiet", "--retries", "2",
                                      "--disable-pip-version-check", *pinned) == 0
done = False
try:
    uv = shutil.which("uv")
    shutil.rmtree(place, ignore_errors=True)
    done = bool(uv) and with_uv(uv)
    if not done:
        shutil.rmtree(place, ignore_errors=True)
        done = with_pip()
finally:
    if not done:
        shutil.rmtree(place, ignore_errors=True)
sys.exit(0 if done else 1)
"""


@dataclass(frozen=True)
class Step:
    """One thing that a host needs: whether it is there, and how to get it there, with progress."""

    name: str
    satisfied: Callable[[], bool]
    apply: Callable[[Tell], None]


@dataclass(frozen=True)
class Site:
    """Where things lie on a host, as paths from the user's home.

    ``found`` is the host's own Python, ``python`` the one that has the packages.
    """

    connection: Connection
    found: Python
    harness: str
    python: str

    @property
    def folder(self) -> str:
        return self.connection.host.folder

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs the harness's Python with these arguments."""
        # Its path is given, and nothing of the user's home comes before it.
        paths = [f"PYTHONPATH={self.harness}", "PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1"]
        return ["env", *paths, self.python, *arguments]


def site(connection: Connection) -> Site:
    """Return where this farm's harness and Python are, or will be, on a host; raises HostError."""
    host = connection.host
    found = python.find(connection)
    made_with = f"{found.version} {found.base}".encode()
    environment = files_hash([("lock", LOCK.read_bytes()), ("python", made_with)])
    managed = f"{host.folder}/environments/{environment}/bin/python"
    return Site(
        connection,
        found,
        harness=f"{host.folder}/harness/{harness_hash()}",
        python=managed if host.environment == "managed" else found.path,
    )


def steps(place: Site, builds: Mapping[str, Path]) -> Iterator[Step]:
    """Yield what a host needs before it can measure these builds (folders by hash), in order."""
    yield Step(f"python {place.found.version}", lambda: True, lambda _: None)  # site found it
    yield Step("environment", lambda: _has_packages(place), lambda tell: _install(place, tell))
    yield _folder(place, "harness", place.harness, _harness())
    for name, folder in builds.items():
        yield build_step(place, name, folder)


def build_step(place: Site, name: str, folder: Path) -> Step:
    """Return the step that puts a build, unpacked in ``folder``, on a host under its hash."""
    files = {
        f"{PACKAGE}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return _folder(place, f"build {name}", f"{place.folder}/builds/{name}", files)


def bring_up(place: Site, wanted: Iterable[Step], tell: Tell) -> Iterator[tuple[str, str]]:
    """Do what is not done yet; yield each step with ``was there`` or ``done``.

    Raises HostError when a step is not satisfied after it was applied.
    """
    for step in wanted:
        state = "was there"
        if not step.satisfied():
            step.apply(lambda words, step=step: tell(f"{step.name}: {words}"))  # type: ignore[misc]
            state = "done"
            if not step.satisfied():
                name = place.connection.name
                raise HostError(f"host {name!r}: {step.name}: still missing; try again")
        yield step.name, state


def purge(place: Site) -> None:
    """Delete the farm's folder from a host."""
    delete = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)"
    command = [place.found.path, "-c", delete, place.folder]
    succeeded(place.connection.name, place.found.path, place.connection.run(command, SLOW))


def _has_packages(place: Site) -> bool:
    look = "import mlx.core, mlx_lm, numpy, psutil, pydantic"
    done = place.connection.run([place.python, "-c", look], QUICK)
    if done.status != 0 and place.connection.host.environment == "provided":
        raise HostRefusedError(
            f"host {place.connection.name!r}: {place.python} lacks a package "
            f"({telling(done.errors)}); install it, or let the farm make the environment "
            "(environment: managed)"
        )
    return done.status == 0


def _install(place: Site, tell: Tell) -> None:
    """Make the environment from the package index, or from wheels that are carried there."""
    connection = place.connection
    folder = place.python.removesuffix("/bin/python")
    wheels = _carry(place, tell) if connection.host.wheels else ""
    tell("installing the packages, which may take minutes")
    command = [place.found.path, "-c", _INSTALL, folder, wheels]
    done = connection.run(command, SLOW, [LOCK.read_bytes()])
    if done.status != 0:
        why = telling(done.errors) or telling(done.output) or f"status {done.status}"
        raise HostError(
            f"host {connection.name!r}: packages: {why}; see that it reaches its package index (or "
            "name 'wheels' in the inventory), and the space on the disk"
        )


def _carry(place: Site, tell: Tell) -> str:
    """Send the host's wheels; return where they lie there."""
    source = Path(str(place.connection.host.wheels)).expanduser()
    files = {path.name: path for path in sorted(source.glob("*.whl"))}
    if not files:
        raise HostRefusedError(
            f"host {place.connection.name!r}: {source} has no wheels; fill it with: "
            f"pip download -r {LOCK} -d {source}"
        )
    name = files_hash((path.name, path.read_bytes()) for path in sorted(source.glob("*.whl")))
    folder = f"{place.folder}/wheels/{name}"
    transfer.send(place.connection, place.found.path, folder, files, tell)
    return folder


def _folder(place: Site, name: str, path: str, files: Mapping[str, Path]) -> Step:
    own = place.found.path
    look = [own, "-c", _LOOK, path]

    def apply(tell: Tell) -> None:
        tell("sending")
        transfer.send(place.connection, own, path, files, tell)

    return Step(name, lambda: place.connection.run(look, QUICK).status == 0, apply)


def harness_hash() -> str:
    """Name the harness of this farm by the bytes of all that a host runs."""
    return files_hash((name, path.read_bytes()) for name, path in _harness().items())


def _harness() -> dict[str, Path]:
    root = Path(worker.__file__).parent
    return {
        f"worker/{path.relative_to(root).as_posix()}": path
        for path in sorted(root.rglob("*"))
        if path.is_file() and counts(path.relative_to(root))
    }

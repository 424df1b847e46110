"""Where the documentation's blocks run: each session is a folder, a PATH and what lies in both."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fake_farm
from documented import REPOSITORY, Step
from farm.plan import inventory
from lab import lab
from programs import fast, words

BASH = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"]
# Programs of a Mac, or that would ask a person: they check what they are given, and do no more.
STAND_INS = {
    "sudo": 'exec "${@/#\\/Library/$HOME/Library}"',
    "launchctl": (
        '[ "$1 $2" = "bootstrap system" ] && exec python -c '
        '\'import plistlib, sys; assert plistlib.load(open(sys.argv[1], "rb"))["Label"]\' "$3"'
    ),
    "ssh-copy-id": "[[ $# = 1 && $1 = *.local ]]",
}
HISTORY = 24
SLOW = 10
TAGS = {2: "v0.0", 6: "v0.1", 14: "v0.2"}
PACKAGES = (
    "farm",
    "worker",
    "db",
    "dashboard",
    "Makefile",
    "constraints.txt",
    "pyproject.toml",
)


@dataclass
class Session:
    """Runs steps in ``folder``; ``farm`` is the program's path, ``inside`` what to run it in."""

    folder: Path
    tree: Path = REPOSITORY
    inside: list[str] = field(default_factory=list)
    writes_inventory: bool = True

    def do(self, step: Step) -> str:
        """Write the step's file, or run its script; fail unless it ends as the page says."""
        if step.title:
            self._write(step)
            return ""
        if "serve" in step.options:
            return self._serve(step)
        dry = {"MAKEFLAGS": "n"} if "dry" in step.options else {}
        process = self._start(step.text, **dry)
        output, _ = process.communicate()
        assert process.returncode == step.status, f"{step.page}:{step.line}\n{output}"
        return output

    def _write(self, step: Step) -> None:
        assert step.title
        if step.title != "inventory.yaml" or self.writes_inventory:
            path = self.folder / step.title
            path.parent.mkdir(parents=True, exist_ok=True)
            # One round shows that every cell of a suite runs.
            path.write_text(step.text + ("rounds: 1\n" if "\ncells:" in step.text else ""))
        if step.title == "inventory.yaml":
            shown = self.folder.parent / "shown.yaml"
            shown.write_text(step.text)
            known = inventory.load(self.folder / "inventory.yaml")
            assert set(inventory.load(shown).hosts) <= set(known.hosts)

    def _serve(self, step: Step) -> str:
        process = self._start(step.text)
        try:
            assert any("URL:" in line for line in process.stdout), "it ended at once"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate()
        return "a server that was ended"

    def _start(self, script: str, **more: str) -> subprocess.Popen[str]:
        path = f"{self.folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [*self.inside, *BASH, script],
            cwd=self.folder,
            env=fake_farm.environment(
                HOME=str(self.folder), PATH=path, PYTHONPATH=self._modules(), **more
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _modules(self) -> str:
        return os.pathsep.join([str(self.tree), str(fake_farm.TESTS)])


def farm(*program: str) -> str:
    """Return a script that is ``farm`` by way of a program.

    What disturbs this machine is no matter for what a page says: nothing waits for quiet, nor is
    measured again.
    """
    return f"""case $1 in gate|nightly|bisect|backfill) set -- "$1" --anyway "${{@:2}}";; esac
case $1 in run) set -- run --anyway --again 0 "${{@:2}}";; esac
exec {shlex.join(program)} "$@\""""


def of_quick_python() -> list[str]:
    """Return the words that run an interpreter with quick products of matrices."""
    return ["env", *(f"{name}={value}" for name, value in fast().items()), sys.executable]


def of_copy() -> list[str]:
    """Return the words that run the farm of the folder that is first on the path of modules."""
    return [*of_quick_python(), str(fake_farm.TESTS / "farm_in_one.py")]


@contextmanager
def session(name: str, folder: Path) -> Iterator[Session]:
    """Make a session of that name below an empty folder, and take it away at the end."""
    place = folder / "place"
    with SESSIONS[name](folder, place) as made:
        scripts = STAND_INS | {"python": f'exec {sys.executable} "$@"'}
        for program, script in scripts.items():
            fake_farm.script(folder / "bin" / program, script)
        (place / "Library" / "LaunchDaemons").mkdir(parents=True, exist_ok=True)
        yield made


@contextmanager
def _files(folder: Path, place: Path) -> Iterator[Session]:
    """Give an empty folder, and the farm of this checkout."""
    place.mkdir()
    fake_farm.script(folder / "bin" / "farm", farm(*words("farm_in_one")))
    yield Session(place)


@contextmanager
def _local(folder: Path, place: Path) -> Iterator[Session]:
    """Measure on this machine, with the cache of this checkout."""
    with _files(folder, place) as made:
        (place / "inventory.yaml").write_text(f"subject: {{repository: {REPOSITORY}}}\n")
        yield made


@contextmanager
def _checkout(folder: Path, place: Path) -> Iterator[Session]:
    """Work in a copy of this checkout, which may be changed."""
    place.mkdir()
    fake_farm.script(folder / "bin" / "farm", farm(*of_copy()))
    for name in PACKAGES:
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, place / name, ignore=ignored)
        else:
            shutil.copy(source, place / name)
    yield Session(place, tree=place)


@contextmanager
def _history(folder: Path, place: Path) -> Iterator[Session]:
    """Work in a repository with a slow commit, where only the hosts' processes are fake."""
    project = fake_farm.Project(place)
    shutil.copytree(REPOSITORY / "docs" / "examples", place / "docs" / "examples")
    for number in range(HISTORY):
        project.commit(f"c{number:02}", speed=0.85 if number >= SLOW else 1.0)
        if number in TAGS:
            project.git("tag", TAGS[number])
    fake_farm.command(folder / "bin")
    yield Session(place)


@contextmanager
def _lab(folder: Path, place: Path) -> Iterator[Session]:
    """Reach two hosts over SSH, each a network namespace with its own server."""
    place.mkdir()
    quick = f'case $1 in hosts) exec {shlex.join(words("farm_itself"))} "$@";; esac\n'
    fake_farm.script(folder / "bin" / "farm", quick + farm(sys.executable, "-m", "farm"))
    with lab(place, ["mini", "laptop"]) as made:
        inside = ["ip", "netns", "exec", made.prefix]
        _as_people_have_it(place)
        yield Session(place, inside=inside, writes_inventory=False)


def _as_people_have_it(place: Path) -> None:
    """Let the coordinator's home have a plain ``~/.ssh/id_ed25519``, and the inventory no key.

    The hosts have quick products of matrices, as Macs do.
    """
    (place / ".ssh").mkdir(mode=0o700)
    shutil.copy(place / "client_key", place / ".ssh" / "id_ed25519")
    python = fake_farm.script(place / "python", f'exec {shlex.join(of_quick_python())} "$@"')
    text = (place / "inventory.yaml").read_text().replace(f"key: {place}/client_key, ", "")
    (place / "inventory.yaml").write_text(text.replace(sys.executable, str(python)))


SESSIONS = {
    "files": _files,
    "local": _local,
    "checkout": _checkout,
    "history": _history,
    "lab": _lab,
}

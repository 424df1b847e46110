"""Hosts for tests: network namespaces of one machine, each with its own sshd, and a coordinator."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from programs import words

REPOSITORY = Path(__file__).parents[2]
#: One cell of a second or two, for tests of how hosts are reached.
SUITE = """
description: a small cell on each host
models: [reference]
deadline: 120
caches:
  turbo: {kind: turbo, key_bits: 4, value_bits: 4}
cells:
- {benchmark: memory, contexts: [160], params: {tokens: 2}}
"""
SSHD = """
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/../client_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
"""


# Each host tells another boot, as another machine would, and reads nothing of the user's own shell.
BOOT = """
[ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc
[ ! -e "$1.passwd" ] || mount --bind "$1.passwd" /etc/passwd
cat /proc/sys/kernel/random/uuid > "$1.boot_id"
mount --bind "$1.boot_id" /proc/sys/kernel/random/boot_id
exec /usr/sbin/sshd -D -e -f "$1"
"""


def missing(*more: str) -> str | None:
    """Return what this machine lacks for a lab, these programs included, or None."""
    if os.geteuid() != 0:
        return "a lab of network namespaces needs root"
    absent = [
        tool
        for tool in ("ip", "/usr/sbin/sshd", "ssh-keygen", "unshare", "nsenter", *more)
        if not _has(tool)
    ]
    return f"a lab needs {', '.join(absent)}" if absent else None


def need(*more: str) -> None:
    """Skip the test where this machine cannot have a lab; in CI that is a failure."""
    if lack := missing(*more):
        if os.environ.get("FARM_REQUIRE_NETNS"):
            pytest.fail(lack)
        pytest.skip(lack)


@dataclass
class Lab:
    """Some hosts on one switch, and a coordinator's namespace where ``farm`` runs."""

    folder: Path
    names: list[str]
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    prefix: str = f"tf{os.getpid()}"

    python, repository = sys.executable, REPOSITORY

    def farm(
        self, *arguments: str, home: Path | None = None, agent: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start ``farm`` as the coordinator, in the lab's folder or another home.

        A run measures each job once: the hosts of a lab share one machine and disturb each other.
        """
        once = ["--again", "0", "--anyway"] if arguments[0] == "run" else []
        return self._start([sys.executable, "-m", "farm", *arguments, *once], home, agent)

    def quick(
        self, *arguments: str, home: Path | None = None, agent: Path | None = None
    ) -> subprocess.Popen[str]:
        """Do the same as a fork of what has its imports, where it is no matter how it begins."""
        return self._start([*words("farm_itself"), *arguments], home, agent)

    def _start(
        self, command: list[str], home: Path | None, agent: Path | None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["ip", "netns", "exec", self.prefix, *command],
            cwd=home or self.folder,
            env=os.environ
            | {"PYTHONPATH": str(REPOSITORY), "HOME": str(home or self.folder)}
            | {"SSH_AUTH_SOCK": str(agent or "")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, name: str) -> None:
        """Boot a host: a process namespace whose first process is its sshd."""
        configuration = self.folder / name / "sshd_config"
        self.servers[name] = subprocess.Popen(
            ["ip", "netns", "exec", f"{self.prefix}{name}", "unshare", "--pid", "--fork",
             "--kill-child=KILL", "--mount-proc", "sh", "-c", BOOT, "sh", str(configuration)],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        said = []
        for line in self.servers[name].stderr:
            said.append(line)
            if b"Server listening on 0.0.0.0" in line:
                return
        raise AssertionError(f"{name}: its server ended: {said}")

    def configure(self, name: str, sshd: str) -> None:
        """Boot a host anew with these lines in its server's configuration."""
        place = self.folder / name
        (place / "sshd_config").write_text(SSHD.format(folder=place) + sshd)
        self.crash(name)
        self.start(name)

    def dress(
        self,
        name: str,
        shell: str = "/bin/bash",
        sshd: str = "",
        files: dict[str, bytes] | None = None,
    ) -> Path:
        """Boot a host anew whose user has a home with a blank, a shell and these files there.

        ``sshd`` are lines of its server's configuration. Returns the home.
        """
        place = self.folder / name
        home = place / "home of a user"
        for path, text in (files or {}).items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_bytes(text)
        home.mkdir(exist_ok=True)
        others = [
            line for line in Path("/etc/passwd").read_text().splitlines() if line[:5] != "root:"
        ]
        users = [f"root:x:0:0:root:{home}:{shell}", *others]
        (place / "sshd_config.passwd").write_text("\n".join(users) + "\n")
        self.configure(name, sshd)
        return home

    def crash(self, name: str) -> None:
        """End a host with everything on it, at once."""
        first = os.pidfd_open(self.first(name))
        server = self.servers.pop(name)
        server.send_signal(signal.SIGKILL)
        server.wait()
        select.select([first], [], [])  # nothing of the host holds its port any more
        os.close(first)
        server.stderr.close()

    def fill(self, name: str, place: Path) -> None:
        """Make a folder of a host a disk that has no room; ``drain`` ends it."""
        self._mount(name, "mount", "-t", "tmpfs", "-o", "size=4k", "none", str(place))

    def drain(self, name: str, place: Path) -> None:
        self._mount(name, "umount", "-l", str(place))

    def _mount(self, name: str, *command: str) -> None:
        # What is mounted is seen in the host's own mount namespace alone.
        inside = ["nsenter", "--target", str(self.first(name)), "--mount", "--pid"]
        subprocess.run([*inside, *command], check=True)

    def first(self, name: str) -> int:
        """Return the process that is number 1 of a host."""
        pid = self.servers[name].pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def unplug(self, name: str, via: str) -> None:
        """Let the coordinator reach a host only by way of another."""
        route = ["route", "add", "unreachable", f"{self.address(name)}/32"]
        _ip("-n", self.prefix, *route)

    def link(self, name: str, state: str) -> None:
        """Pull a host's cable (``down``) or plug it in again (``up``)."""
        _ip("-n", self.prefix, "link", "set", f"to-{name}", state)

    @contextmanager
    def inside(self, name: str = "") -> Iterator[None]:
        """Let this thread, and what it starts, be on the coordinator or on a host's network."""
        spaces = Path("/proc/thread-self/ns/net"), Path("/run/netns", f"{self.prefix}{name}")
        with spaces[0].open() as own, spaces[1].open() as to:
            enter(to.fileno())
            try:
                yield
            finally:
                enter(own.fileno())

    def address(self, name: str) -> str:
        return f"10.77.0.{11 + self.names.index(name)}"

    def new_host_key(self, name: str) -> None:
        key = self.folder / name / "host_key"
        key.unlink(missing_ok=True)
        _keygen(key)


@contextmanager
def lab(folder: Path, names: list[str]) -> Iterator[Lab]:
    """Make namespaces, keys, an inventory and running hosts; take all of it away at the end."""
    made = Lab(folder, names)
    _keygen(folder / "client_key")
    Path("/run/sshd").mkdir(exist_ok=True)
    hosts = ""
    try:
        _network(made)
        for name in names:
            (folder / name).mkdir()
            (folder / name / "sshd_config").write_text(SSHD.format(folder=folder / name))
            made.new_host_key(name)
            made.start(name)
            hosts += (
                f"  {name}: {{address: {made.address(name)}, user: root, key: {folder}/client_key, "
                f"folder: {folder}/{name}/farm, python: {sys.executable}, environment: provided}}\n"
            )
        text = f"engine: ssh\nsubject: {{repository: {REPOSITORY}}}\nhosts:\n{hosts}"
        (folder / "inventory.yaml").write_text(text)
        yield made
    finally:
        for name in list(made.servers):
            made.crash(name)
        for space in (made.prefix, *(f"{made.prefix}{name}" for name in names)):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _network(made: Lab) -> None:
    """Put a switch into the coordinator's namespace, and a cable to each host."""
    switch = made.prefix
    _ip("netns", "add", switch)
    _ip("-n", switch, "link", "add", "switch", "type", "bridge")
    _ip("-n", switch, "addr", "add", "10.77.0.1/24", "dev", "switch")
    for device in ("lo", "switch"):
        _ip("-n", switch, "link", "set", device, "up")
    for name in made.names:
        space = f"{made.prefix}{name}"
        _ip("netns", "add", space)
        peer = ("peer", "name", "eth0", "netns", space)
        _ip("-n", switch, "link", "add", f"to-{name}", "type", "veth", *peer)
        _ip("-n", switch, "link", "set", f"to-{name}", "master", "switch", "up")
        _ip("-n", space, "addr", "add", f"{made.address(name)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")


def enter(namespace: int) -> None:
    """Let this thread be in a network namespace, by its open file."""
    # os.setns comes with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _keygen(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _has(tool: str) -> bool:
    return shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is not None

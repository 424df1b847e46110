"""One command on a host: bytes both ways; whatever goes wrong is a HostError."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import paramiko

from farm.errors import HostError, HostRefusedError
from farm.hosts.said import telling
from farm.hosts.ssh import shell

PIECE = 65536  # bytes of one read or write
SHELL = 60.0  # seconds for a login shell to come to the farm's command
NOISE = 2**20  # bytes that start-up files may print


class Outcome(NamedTuple):
    """How a command ended, and when it began, in seconds since 1970.

    ``status`` is -1 when a signal or a lost connection ended it.
    """

    status: int
    output: str
    errors: str
    began: float = 0.0


class Channel:
    """A command that runs; ``mark`` is what tells its own words from the start-up files'."""

    def __init__(self, raw: paramiko.Channel, host: str, mark: str) -> None:
        self._raw, self._host, self._mark = raw, host, mark
        self._rest = b""
        self.began = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, deadline: float | None) -> None:
        """Wait until the command runs; from then on a read may take ``deadline`` seconds."""
        self._raw.settimeout(SHELL)
        late = time.monotonic() + SHELL
        said = b""
        while (rest := shell.after(self._mark, said)) is None:
            if time.monotonic() > late or len(said) > NOISE:
                raise self._hanging()
            try:
                piece = self._read()
            except TimeoutError as error:
                raise self._hanging() from error
            if not piece:
                raise self._never_ran(said)
            said += piece
        self._rest, self.began = rest, time.time()
        self._raw.settimeout(deadline)

    def receive(self) -> bytes:
        """Return what was said since the last time, nothing at the end; raises TimeoutError."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return self._read()

    def lines(self) -> Iterator[str]:
        """Yield whole lines until the end; half a line is what a lost connection left of one."""
        rest = b""
        while piece := self.receive():
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)

    def send(self, data: bytes) -> None:
        """Send all bytes; in pieces, because each write copies what is left of its bytes."""
        view = memoryview(data)
        with self._lost():
            for at in range(0, len(view), PIECE):
                self._raw.sendall(bytes(view[at : at + PIECE]))

    def end_input(self) -> None:
        with self._lost():
            self._raw.shutdown_write()

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Send all bytes and end the input; a command that ended before says why in its errors."""
        try:
            for piece in pieces:
                self.send(piece)
            self.end_input()
        except HostError:
            if not self._raw.exit_status_ready() and not self._raw.closed:
                raise

    def outcome(self) -> Outcome:
        """Read until the command has ended; raises TimeoutError when it says nothing for long."""
        output = bytearray()
        while piece := self.receive():
            output += piece
        errors = self.errors()
        with self._lost():
            status = self._raw.recv_exit_status()
        return Outcome(status, output.decode(errors="replace"), errors, self.began)

    def errors(self) -> str:
        """Return what the command has said on its second output, once the first has ended."""
        said = self._errors()
        own = shell.after(self._mark, said)
        return (said if own is None else own).decode(errors="replace")

    def close(self) -> None:
        self._raw.close()

    def _read(self) -> bytes:
        with self._lost():
            return self._raw.recv(PIECE)

    def _errors(self) -> bytes:
        said = bytearray()
        with self._lost():
            while piece := self._raw.recv_stderr(PIECE):
                said += piece
        return bytes(said)

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise lost(self._host, error) from error

    def _hanging(self) -> HostError:
        words = f"its login shell has not come to the farm's command in {SHELL:g} s"
        return HostError(
            f"host {self._host!r}: {words}; see what its start-up files (.bashrc, .zshenv, "
            "config.fish) wait for or print"
        )

    def _never_ran(self, said: bytes) -> HostError:
        """Return why there was no mark: the connection is gone, or the host runs something else."""
        words = telling((self._errors() + b"\n" + said).decode(errors="replace"))
        with self._lost():
            status = self._raw.recv_exit_status()
        if status < 0:
            return lost(self._host, EOFError(words or "it ended without a word"))
        told = f"it says: {words}" if words else "it says nothing"
        return HostRefusedError(
            f"host {self._host!r}: its login shell ended (status {status}) before the farm's "
            f"command ran; {told}; give the user an ordinary shell there, without a forced command"
        )


def lost(host: str, error: Exception) -> HostError:
    """Return the error that says that a connection is gone, for a library's own."""
    words = str(error) or type(error).__name__
    return HostError(f"host {host!r}: connection lost: {words}; try again")

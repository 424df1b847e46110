"""The local engine: a session with ``worker.process.serve`` as a child of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from farm.dispatch.link import Session, Tell
from farm.errors import HostError
from worker.process import harness

#: One for each machine and user: several farms and hosts on one machine take turns.
LOCK = Path("~/.cache/turbofarm/device.lock").expanduser()
ENDING = 10.0  # seconds that a session may take to end its job and itself
LONGEST = 2**26  # bytes of one line: a record with all its samples


class Processes:
    """Sessions on this machine.

    ``folder`` holds the builds and takes what is kept; ``tell`` shows what a session complains of.
    """

    def __init__(self, folder: Path, tell: Tell, lock: Path = LOCK) -> None:
        self._folder, self._tell, self._lock = folder, tell, lock

    @asynccontextmanager
    async def session(self, host: str) -> AsyncIterator[Session]:
        own = str(self._folder), "--lock", str(self._lock)
        process = await asyncio.create_subprocess_exec(
            *harness.command("worker.process.serve", *own),
            env=harness.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST,
            start_new_session=True,
        )
        pipes = _Pipes(host, process, self._tell)
        try:
            yield pipes
        finally:
            await pipes.end()

    async def close(self) -> None:
        """Nothing runs between sessions."""


class _Pipes:
    def __init__(self, host: str, process: asyncio.subprocess.Process, tell: Tell) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("a session needs all three pipes")
        self._host, self._process, self._tell = host, process, tell
        self._stdin, self._stdout = process.stdin, process.stdout
        self._last_words = "no reason given"
        self._complaints = asyncio.ensure_future(self._listen(process.stderr))

    async def place(self, build: str) -> None:
        """Do nothing: builds are unpacked where this session reads them."""

    async def say(self, line: str) -> None:
        try:
            self._stdin.write(f"{line}\n".encode())
            await self._stdin.drain()
        except ConnectionError as error:
            raise await self._lost() from error

    async def hear(self) -> str:
        line = await self._stdout.readline()
        if not line:
            raise await self._lost()
        return line.decode(errors="replace")

    async def end(self) -> None:
        """Hang up: the process kills its job and ends, or is ended."""
        self._stdin.close()
        try:
            async with asyncio.timeout(ENDING):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._complaints

    async def _listen(self, complaints: asyncio.StreamReader) -> None:
        while raw := await complaints.readline():
            if line := raw.decode(errors="replace").rstrip():
                self._last_words = line
                self._tell(f"{self._host}: {line}")

    async def _lost(self) -> HostError:
        await self._complaints
        return HostError(f"host {self._host!r}: the session ended: {self._last_words}")

"""The local engine: a session with ``worker.serve`` as a child of this process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from farm.errors import HostError
from farm.line import Session

#: One for each machine and user: several farms and hosts on one machine take turns.
LOCK = Path("~/.cache/turbofarm/device.lock").expanduser()
ENDING = 10.0  # seconds that a session may take to end its job and itself
LONGEST = 2**26  # bytes of one line: a record with all its samples


class Processes:
    """Sessions on this machine; ``folder`` holds the builds and takes the spool."""

    def __init__(self, folder: Path, lock: Path = LOCK) -> None:
        self._folder, self._lock = folder, lock

    @asynccontextmanager
    async def session(self, host: str) -> AsyncIterator[Session]:
        command = ["-m", "worker.serve", str(self._folder), "--lock", str(self._lock)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST,
            start_new_session=True,
        )
        pipes = _Pipes(host, process)
        try:
            yield pipes
        finally:
            await pipes.end()

    async def close(self) -> None:
        """Nothing runs between sessions."""


class _Pipes:
    def __init__(self, host: str, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("a session needs all three pipes")
        self._host, self._process = host, process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr

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
        return line.decode()

    async def end(self) -> None:
        """Hang up: the process kills its job and ends, or is ended."""
        self._stdin.close()
        try:
            async with asyncio.timeout(ENDING):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _lost(self) -> HostError:
        words = (await self._stderr.read()).decode(errors="replace").strip().rpartition("\n")[2]
        return HostError(f"host {self._host!r}: the session ended: {words or 'no reason given'}")

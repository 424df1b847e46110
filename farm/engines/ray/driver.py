"""The coordinator's end of ``driver_process``: conversations with hosts through Ray's driver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from farm.errors import HostError
from worker.process import harness

LONGEST = 2**26  # bytes of one line: a record with all its samples
ENDING = 15.0  # seconds to end in, once asked
SHOWN = 400  # characters of last words
LISTENING = 1.0  # seconds for last words to come in


class Conversation:
    """What is said with one host; once it is lost, it stays lost."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: HostError | None = None
        self.lines: asyncio.Queue[str | HostError] = asyncio.Queue()

    def lose(self, error: HostError) -> None:
        """Tell everyone who waits that the host is lost."""
        if self.lost is None:
            self.lost = error
            self.lines.put_nowait(error)
            if not self.opened.done():
                self.opened.set_result(None)


class Driver:
    """A child process; its end, which may come without a word, loses every conversation."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._conversations: dict[str, Conversation] = {}
        self._words = ""
        self._listening = asyncio.ensure_future(self._listen())
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, address: str, port: int, environment: Mapping[str, str]) -> Self:
        """Start a driver for the cluster whose head is at this address."""
        process = await asyncio.create_subprocess_exec(
            *harness.command("farm.engines.ray.driver_process", address, str(port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST,
            start_new_session=True,
            env={**harness.environment(), **environment},
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.stdout is not None and not self._process.stdout.at_eof()

    async def open(self, host: str, resource: str, command: list[str]) -> Conversation:
        """Begin a conversation; its ``opened`` is set once the command runs or is lost."""
        conversation = self._conversations[host] = Conversation()
        await self.send(host, open={"resource": resource, "command": command})
        return conversation

    async def close(self, host: str) -> None:
        """End a conversation and its actor."""
        conversation = self._conversations[host]
        with suppress(HostError):  # it has ended, and every conversation with it
            await self.send(host, close=True)
            either = [conversation.closed, self._reading]
            await asyncio.wait(either, timeout=ENDING, return_when=asyncio.FIRST_COMPLETED)
        self._conversations.pop(host, None)

    async def send(self, host: str, **message: Any) -> None:
        """Pass a message to the driver; raises HostError if it has ended."""
        stdin = self._process.stdin
        try:
            if stdin is None or not self.alive:
                raise self._gone(host)
            stdin.write(f"{json.dumps({'host': host, **message})}\n".encode())
            await stdin.drain()
        except ConnectionError as error:
            raise self._gone(host) from error

    def kill(self) -> None:
        """End the process at once, and with it every conversation."""
        if self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """Let the process end, or end it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(ENDING):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        if self._process.stdout is not None:
            # A driver that is killed may leave half a line.
            while (line := await self._process.stdout.readline()).endswith(b"\n"):
                self._take(json.loads(line))
        await asyncio.wait([self._listening], timeout=LISTENING)
        for host, conversation in self._conversations.items():
            conversation.lose(self._gone(host))

    async def _listen(self) -> None:
        """Keep the end of what the process, or Ray in it, says before it dies."""
        if self._process.stderr is not None:
            while piece := await self._process.stderr.read(LONGEST):
                self._words = (self._words + piece.decode(errors="replace"))[-SHOWN:]

    def _take(self, message: dict[str, Any]) -> None:
        host = message.get("host", "")
        conversation = self._conversations.get(host)
        if conversation is None:
            return
        if "line" in message:
            conversation.lines.put_nowait(message["line"])
        elif "opened" in message and not conversation.opened.done():
            conversation.opened.set_result(None)
        elif "lost" in message:
            conversation.lose(HostError(f"host {host!r}: {message['lost']}"))
        elif "closed" in message and not conversation.closed.done():
            conversation.closed.set_result(None)

    def _gone(self, host: str) -> HostError:
        words = " ".join(self._words.split()) or "without a word"
        return HostError(f"host {host!r}: Ray's driver here ended: {words}; try again")

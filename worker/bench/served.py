"""A server of an OpenAI-like API in a process of its own, asked over plain HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

Messages = list[dict[str, str]]
#: Each token of an answer, and by how many nats it was likelier than the next likely one.
Tokens = list[tuple[int, float]]
WATCHED = Path(__file__).parent / "watched.py"


@dataclass(frozen=True)
class Server:
    """Where a server listens, which process it is, and where it says what it holds."""

    port: int
    pid: int
    told: Path

    def ask(self, messages: Messages, max_tokens: int) -> tuple[Tokens, str, int]:
        """Return an answer, its text, and how many tokens of the prompt were cached."""
        wish = {"messages": messages, "max_tokens": max_tokens, "logprobs": True, "top_logprobs": 2}
        with self._open(wish) as answer:
            said = json.load(answer)
        (choice,) = said["choices"]
        likeliest = [token["top_logprobs"] for token in choice["logprobs"]["content"]]
        tokens = [(one["id"], one["logprob"] - two["logprob"]) for one, two in likeliest]
        cached = said["usage"]["prompt_tokens_details"]["cached_tokens"]
        return tokens, choice["message"]["content"] or "", cached

    def first_token(self, messages: Messages) -> float:
        """Return the seconds until a stream says its first word."""
        started = time.perf_counter()
        with self.stream(messages, 4) as stream:
            next(line for line in stream if line.startswith(b"data:"))
            return time.perf_counter() - started

    @contextmanager
    def stream(self, messages: Messages, max_tokens: int) -> Iterator[HTTPResponse]:
        """Give the lines of a streamed answer; leaving it drops the connection."""
        with self._open({"messages": messages, "max_tokens": max_tokens, "stream": True}) as lines:
            yield lines

    def _open(self, wish: dict[str, Any]) -> HTTPResponse:
        address = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        body = json.dumps({"temperature": 0, **wish}).encode()
        kind = {"Content-Type": "application/json"}
        opened: HTTPResponse = urlopen(Request(address, body, kind))
        return opened

    def resident(self) -> int:
        """Return the bytes of memory that the process holds, as Linux counts them."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise OSError("no VmRSS in /proc: this script measures memory on Linux alone")

    def held(self) -> Held:
        """Return what it holds in memory now; ask it only while it answers nobody."""
        before = self._lines()
        os.kill(self.pid, signal.SIGUSR1)
        while len(self._lines()) == len(before):
            time.sleep(0.01)
        return Held(resident=self.resident(), **json.loads(self._lines()[-1]))

    def _lines(self) -> list[str]:
        return self.told.read_text().splitlines(keepends=True) if self.told.exists() else []


@dataclass(frozen=True)
class Held:
    """Bytes of a process, of all its arrays, and of the states that prompts left, with tokens."""

    resident: int
    active: int
    bytes: int
    tokens: int
    states: int


@contextmanager
def serving(python: Path, command: list[str], model: Path) -> Iterator[Server]:
    """Start a server with a model, wait until it listens, and stop it at the end.

    ``python`` is that of the environment which the command, a script of Python's, belongs to.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = ["--model", str(model), "--port", str(port), "--log-level", "INFO"]
    log, told = (model.parent / f"server-{port}.{kind}" for kind in ("log", "jsonl"))
    watched = [str(python), str(WATCHED), str(told), *command, *given]
    with log.open("wb") as lines:
        process = subprocess.Popen(watched, stderr=lines, stdout=lines)
    try:
        while "Starting httpd" not in log.read_text():
            if process.poll() is not None:
                raise OSError(f"{command[0]} ended: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Server(port, process.pid, told)
    finally:
        process.terminate()
        process.wait()

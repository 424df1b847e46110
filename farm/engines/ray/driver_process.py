"""Lines over Ray; the only home of Ray.

``python -m farm.engines.ray.driver_process ADDRESS PORT`` is Ray's driver, in a process of its
own, because Ray's C++ may end it without a Python exception. It takes and gives JSON lines:

    in   {"host": H, "open": {"resource": R, "command": [...]}}   {"host": H, "line": L}
         {"host": H, "close": true}
    out  {"attached": true}    {"host": H, "opened": true}   {"host": H, "line": L}
         {"host": H, "lost": REASON}    {"host": H, "closed": true}

One actor a host starts the command and passes its lines. No plain tasks: after a silent loss they
hang for minutes. No retries of Ray's: they execute twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any

import ray
from ray.exceptions import RayError

ENDING = 10.0  # seconds for a command to end in, once its input is closed

SHOWN = 600  # characters of an error


class Pipe:
    """An actor on a host: starts a command there, and passes bytes to and from it.

    It travels by value, since hosts have no ``farm``; its imports are the standard library's.
    """

    def start(self, command: list[str]) -> None:
        """Start the command as SSH would: in the user's home, in the environment of a login."""
        folder = os.environ["TURBOFARM_HELD"]
        with open(f"{folder}/environment.json") as file:  # noqa: PTH123  nothing more to import
            environment = json.load(file)
        self.process: Any = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
            cwd=os.path.expanduser("~"),  # noqa: PTH111  likewise
            env={**environment, "TURBOFARM_HELD": folder},
        )

    def say(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n".encode())

    def hear(self) -> bytes:
        """Return what was said since the last time, at least one byte; nothing at the end."""
        return os.read(self.process.stdout.fileno(), 65536)

    def close(self, seconds: float) -> None:
        """Let the command end by itself, as it does without input."""
        self.process.stdin.close()
        self.process.wait(seconds)


class Driver:
    """Holds the actors, by host, and a task for each that listens to it."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers
        self._actors: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def drive(self) -> None:
        """Do what standard input says until it ends."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**26)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        self._say({"attached": True})
        while line := await reader.readline():
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        host = message["host"]
        if "line" in message and host in self._actors:
            say = self._actors[host].say.options(concurrency_group="say")
            say.remote(message["line"])
        elif "open" in message:
            self._begin(self._converse(host, **message["open"]))
        elif "close" in message:
            self._begin(self._close(host))

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, host: str, resource: str, command: list[str]) -> None:
        """Make the host's actor and pass on what it says, until it is lost or closed."""
        actor, rest = None, b""
        try:
            actor = self._actors[host] = _actor(resource)
            await actor.start.remote(command)
            self._say({"host": host, "opened": True})
            while piece := await actor.hear.options(concurrency_group="hear").remote():
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    self._say({"host": host, "line": line.decode(errors="replace")})
            reason = "the session on it ended by itself"
        except Exception as error:  # noqa: BLE001  whatever it is costs this host alone
            reason = f"Ray: {_said(error)}"
        if actor is None or self._actors.get(host) is actor:
            self._say({"host": host, "lost": reason})

    async def _close(self, host: str) -> None:
        actor = self._actors.pop(host)
        with suppress(RayError):  # it is lost, and its command with it
            await actor.close.options(concurrency_group="say").remote(ENDING)
        ray.kill(actor, no_restart=True)
        self._say({"host": host, "closed": True})

    def _say(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self._answers, flush=True)


def _actor(resource: str) -> Any:
    remote = ray.remote(concurrency_groups={"say": 1, "hear": 1})(Pipe)
    options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0}
    return remote.options(resources={resource: 1}, **options).remote()


def _said(error: Exception) -> str:
    """Return an error on one line, without the traceback that Ray may put in."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:SHOWN]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints there when it dies
    address, port = sys.argv[1:]
    ray.init(
        address=f"{address}:{port}",
        _node_ip_address=address,
        log_to_driver=False,
        configure_logging=False,
    )
    asyncio.run(Driver(answers).drive())


if __name__ == "__main__":
    main()

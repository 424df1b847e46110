"""The coordinator's end of ``worker.process.hold``: something kept running here or on a host."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError  # noqa: A004  the one that Future raises
from typing import IO

from farm.errors import HostError
from farm.hosts.bootstrap import Site
from farm.hosts.ssh import ChannelFile

ANSWERING, ENDING = 60.0, 20.0  # seconds for the first line, and to end in
SHOWN = 400  # characters of last words


class Held:
    """What is held: the folder of its secrets, and ``ended``, which gets its last words."""

    def __init__(self, output: IO[bytes] | ChannelFile, let_go: Callable[[], None]) -> None:
        self._let_go = let_go
        self._words: deque[str] = deque(maxlen=5)
        self._folder: Future[str] = Future()
        self.ended: Future[str] = Future()
        self.ended.set_running_or_notify_cancel()  # whoever waits for it cannot cancel it
        threading.Thread(target=self._drain, args=(output,), daemon=True).start()
        self.folder = self._folder.result(ANSWERING)

    def let_go(self) -> None:
        """End it, and wait until it has cleaned up, or its host is taken for lost."""
        self._let_go()

    def _drain(self, output: IO[bytes] | ChannelFile) -> None:
        try:
            self._folder.set_result(output.readline().decode().strip())
            for line in output:
                self._words.append(line.decode(errors="replace").strip())
        except OSError as error:
            self._words.append(str(error))
        words = " ".join(word for word in self._words if word)[-SHOWN:]
        self.ended.set_result(words or "no reason given")


def here(wish: str) -> Held:
    """Hold something on this machine, beyond the reach of an interrupt from the keyboard."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.process.hold"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise TypeError("both pipes are needed")

    def let_go() -> None:
        stdin.close()
        process.wait()
        held.ended.result()
        stdout.close()

    stdin.write(f"{wish}\n".encode())
    stdin.flush()
    held = Held(stdout, let_go)
    return held


def there(place: Site, wish: str) -> Held:
    """Hold something on a host, for as long as the connection lasts; raises HostError."""
    connection = place.connection
    channel = connection.start(place.command("-m", "worker.process.hold"), ANSWERING)
    channel.settimeout(None)

    def let_go() -> None:
        try:
            channel.shutdown_write()
            held.ended.result(ENDING)
        except (OSError, EOFError, TimeoutError):
            pass  # the host is gone, and what is left there sees its own input end
        finally:
            channel.close()

    try:
        channel.sendall(f"{wish}\n".encode())
        held = Held(channel.makefile("rb"), let_go)
    except (OSError, TimeoutError) as error:
        channel.close()
        raise connection.lost(error) from error
    if not held.folder:
        raise HostError(f"host {connection.name!r}: {held.ended.result()}; see its /tmp")
    return held

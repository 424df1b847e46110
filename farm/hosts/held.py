"""The coordinator's end of ``worker.process.hold``: something kept running here or on a host."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress

from farm.errors import FarmError, HostError
from farm.hosts.bootstrap import Site
from farm.hosts.said import telling
from worker.process import harness

ANSWERING, ENDING = 60.0, 20.0  # seconds for the first line, and to end in
SHOWN = 400  # characters of last words


class Held:
    """What is held: the folder of its secrets, and ``ended``, which gets its last words."""

    def __init__(self, lines: Iterator[str], end: Callable[[], None]) -> None:
        self._end = end
        self._words: deque[str] = deque(maxlen=5)
        self._folder: Future[str] = Future()
        self.ended: Future[str] = Future()
        self.ended.set_running_or_notify_cancel()  # whoever waits for it cannot cancel it
        threading.Thread(target=self._drain, args=(lines,), daemon=True).start()
        self.folder = self._folder.result(ANSWERING)

    def let_go(self) -> None:
        """End it, and wait until it has cleaned up, or its host is taken for lost."""
        self._end()

    def _drain(self, lines: Iterator[str]) -> None:
        try:
            self._folder.set_result(next(lines, "").strip())
            self._words.extend(line.strip() for line in lines)
        except Exception as error:  # noqa: BLE001  it ends with the host, whatever that raises
            self._words.append(telling(str(error)))
        if not self._folder.done():
            self._folder.set_result("")
        words = " ".join(word for word in self._words if word)[-SHOWN:]
        self.ended.set_result(words or "no reason given")


def here(order: str) -> Held:
    """Hold something on this machine, beyond the reach of an interrupt from the keyboard."""
    process = subprocess.Popen(
        harness.command("worker.process.hold"),
        env=harness.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise TypeError("both pipes are needed")

    def end() -> None:
        stdin.close()
        process.wait()
        held.ended.result()
        stdout.close()

    stdin.write(f"{order}\n".encode())
    stdin.flush()
    held = Held((line.decode(errors="replace") for line in stdout), end)
    return held


def there(place: Site, order: str) -> Held:
    """Hold something on a host, for as long as the connection lasts; raises HostError."""
    connection = place.connection
    channel = connection.start(place.command("-m", "worker.process.hold"))

    def end() -> None:
        # A host that is gone sees the end of its own input, and clears up what is left there.
        with channel, suppress(FarmError, TimeoutError):
            channel.end_input()
            held.ended.result(ENDING)

    try:
        channel.send(f"{order}\n".encode())
        held = Held(channel.lines(), end)
    except TimeoutError as error:
        channel.close()
        words = f"does not hold a command: no answer in {ANSWERING:g} s"
        raise HostError(f"host {connection.name!r}: {words}; try again") from error
    except BaseException:
        channel.close()
        raise
    if not held.folder:
        raise HostError(f"host {connection.name!r}: {held.ended.result()}; see its /tmp")
    return held

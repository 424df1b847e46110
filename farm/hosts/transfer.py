"""Files to a host, as a stream: what arrives whole is moved to its place, all else is removed."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from farm.hosts.answers import SLOW, succeeded
from farm.hosts.ssh.channel import PIECE
from farm.hosts.ssh.connection import Connection

TOLD = 2_000_000  # bytes from one word of progress to the next

Tell = Callable[[str], None]

#: Python 3.11.0 to 3.11.3 know no filter. A stream that ends early may look like a whole one, so
#: the files are counted. What a host that lost its power left is removed a day later.
_UNPACK = """
import os, shutil, sys, tarfile, tempfile, time
place, count = sys.argv[1], int(sys.argv[2])
parent = os.path.dirname(place)
os.makedirs(parent, exist_ok=True)
for name in os.listdir(parent):
    path = os.path.join(parent, name)
    if name.startswith("unfinished-") and os.path.getmtime(path) < time.time() - 86400:
        shutil.rmtree(path, ignore_errors=True)
folder = tempfile.mkdtemp(prefix="unfinished-", dir=parent)
try:
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(folder, **safe)
        if len(tar.getmembers()) != count:
            sys.exit("ERROR: the connection ended before all files were there")
    if not os.path.isdir(place):
        os.rename(folder, place)
finally:
    shutil.rmtree(folder, ignore_errors=True)
"""


def send(
    connection: Connection,
    python: str,
    folder: str,
    files: Mapping[str, Path],
    tell: Tell = lambda _: None,
) -> None:
    """Put files into a new folder of a host, all or none; raises HostError.

    ``tell`` is told how much of a large load has gone.
    """
    command = [python, "-c", _UNPACK, folder, str(len(files))]
    done = connection.run(command, SLOW, _told(files, tell))
    succeeded(connection.name, python, done)


def _told(files: Mapping[str, Path], tell: Tell) -> Iterator[bytes]:
    """Yield the stream, and tell how much of it has gone."""
    total = sum(path.stat().st_size for path in files.values())
    gone, said = 0, 0
    for piece in _stream(files):
        yield piece
        gone += len(piece)
        if gone - said >= TOLD:
            said = gone
            tell(f"sending, {gone / 1e6:.0f} of {total / 1e6:.0f} MB")


def _stream(files: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield a tar file, piece by piece: nothing of it is held in memory whole."""
    for name, path in files.items():
        entry = tarfile.TarInfo(name)
        entry.size = path.stat().st_size
        yield entry.tobuf(tarfile.GNU_FORMAT)
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)

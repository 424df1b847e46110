"""Programs of the tests as forks of one interpreter that has imported everything already.

`command` writes a program for a PATH. A call costs a tenth of a second where a new interpreter
needs one or two for its imports; it has its own folder, environment, network, standard streams
and exit code all the same. Only for tests that ask what a command says, not how processes begin
and end.

``python preloaded.py SOCKET`` serves; ``python -I -S preloaded.py SOCKET NAME ...`` is a call: what
is imported here at the top is what a call has to wait for.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys

WHOLE = 1 << 20  # bytes of a call: its words and its environment
NETWORK = "/proc/self/ns/net"


def call(place: str, *words: str) -> int:
    """Have a program run with what this process has; return its exit code."""
    folder = os.getcwd()  # noqa: PTH109  pathlib takes longer to import than all the rest
    told = {"words": words, "folder": folder, "environment": dict(os.environ)}
    network = os.open(NETWORK, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WHOLE)
        link.connect(place)
        socket.send_fds(link, [json.dumps(told).encode()], [0, 1, 2, network])
        return int(link.recv(16) or b"70")


def serve(place: str) -> None:
    """Take calls until standard input ends; each is a process that waits for its program."""
    import fake_farm  # noqa: F401, PLC0415
    import farm_in_one  # noqa: F401, PLC0415  what forks are to have
    import farm_itself  # noqa: F401, PLC0415
    import programs  # noqa: PLC0415

    programs.never_sync()

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(place)
        door.listen()
        print("ready", flush=True)  # noqa: T201
        while door in select.select([door, 0], [], [])[0]:
            link, _ = door.accept()
            if os.fork() == 0:
                door.close()
                os._exit(_attend(link))
            link.close()
            _reap()


def _attend(link: socket.socket) -> int:
    """Run the program of a call, and end it where the caller is gone."""
    told, (*streams, network), *_ = socket.recv_fds(link, WHOLE, 4)
    pid = os.fork()
    if pid == 0:
        link.close()
        os.setsid()
        _enter(network)
        os._exit(_run(json.loads(told), streams))
    for stream in (*streams, network):
        os.close(stream)
    ended = os.pidfd_open(pid)
    if link in select.select([link, ended], [], [])[0]:
        os.killpg(pid, 9)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    link.send(str(code if code >= 0 else 128 - code).encode())
    return 0


def _enter(network: int) -> None:
    """Be on the caller's network, which may be a host's of a lab."""
    if os.stat(network).st_ino != os.stat(NETWORK).st_ino:  # noqa: PTH116  as above
        import lab  # noqa: PLC0415

        lab.enter(network)
    os.close(network)


def _run(told: dict, streams: list[int]) -> int:
    """Be the program, in the caller's place."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    name, *words = told["words"]
    try:
        return int(sys.modules[name].run(words))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  as an interpreter ends with it
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(call(*sys.argv[1:]))
    sys.modules["preloaded"] = sys.modules["__main__"]
    serve(sys.argv[1])

"""How a server with turbo caches ends: what becomes of who is being answered, and of states."""

import json
import signal
import socket
import subprocess
import urllib.request
from http.client import HTTPConnection

import pytest

from turbo_server import FACT, REFERENCE, TURBO, Server
from worker.turbo.serving.folder import Folder

LONG = 8000  # tokens: more than are said while a test runs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("states_are_read_here")]


def begin(server, max_tokens, prompt=FACT * 9):
    """Ask for a stream; returns it when it has said something."""
    stream = server.open(
        "completions", {"prompt": prompt, "max_tokens": max_tokens, "stream": True}
    )
    while not stream.readline().startswith(b"data: "):
        pass
    return stream


def rest(stream):
    """Return what a stream says until its end: finish reasons, and whether it says that it ends."""
    lines = [line[6:].strip() for line in stream if line.startswith(b"data: ")]
    said = [json.loads(line)["choices"][0] for line in lines if line != b"[DONE]"]
    return [each["finish_reason"] for each in said], lines[-1:] == [b"[DONE]"]


def told_to_stop(server):
    """Send SIGTERM; returns when nobody new is let in."""
    server.process.send_signal(signal.SIGTERM)
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except OSError:
            return


def ended(server):
    """Wait for the end; returns the status, and the log."""
    server.reading.join()
    server.process.stderr.close()
    return server.process.wait(), "".join(server.log)


def test_who_is_being_answered_has_time_to_end_and_the_state_is_kept(tmp_path):
    server = Server(TURBO, "--grace", "600", "--disk-cache", str(tmp_path))
    stream = begin(server, 120)
    told_to_stop(server)
    reasons, done = rest(stream)
    assert reasons[-1] == "length"
    assert len(reasons) > 60
    assert done
    status, log = ended(server)
    assert status == 0
    assert "Traceback" not in log
    (file,) = tmp_path.iterdir()
    key = file.name.split("-")[2]
    folder = Folder(tmp_path, 10**9)
    (state,) = folder._states(key)
    assert len(state.tokens) > 120
    assert folder.load(state) is not None


def asked(server, **more):
    """Ask for an answer that is not waited for; returns when the server has the question."""
    link = HTTPConnection("127.0.0.1", server.port)
    body = json.dumps({"prompt": FACT * 9, "max_tokens": LONG, **more})
    link.request("POST", "/v1/completions", body)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health") as health:
        health.read()
    return link


def test_who_needs_longer_is_cut_a_stream_by_its_end_and_others_by_an_error():
    server = Server(TURBO, "--grace", "0.5")
    stream = begin(server, LONG)
    whole, waiting = asked(server), asked(server, seed=1)  # which waits until the batch is done
    told_to_stop(server)
    reasons, done = rest(stream)
    assert (reasons[-1], done) == ("length", True)
    assert len(reasons) < LONG
    for link in (whole, waiting):
        answer = link.getresponse()
        assert (answer.status, json.load(answer)) == (503, {"error": "the server is stopping"})
        link.close()
    status, log = ended(server)
    assert status == 0
    assert "Traceback" not in log


def test_a_second_signal_ends_it_at_once():
    server = Server(TURBO, "--grace", "600")
    stream = begin(server, LONG)
    told_to_stop(server)
    server.process.send_signal(signal.SIGTERM)
    status, log = ended(server)
    assert status == 128 + signal.SIGTERM
    assert "Traceback" not in log
    stream.close()


def said_of(port):
    """Start a server at a port where none can listen; returns what it says."""
    done = subprocess.run(
        [*TURBO, "--model", REFERENCE, "--port", port], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_port_that_is_taken_is_said_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port}: cannot listen there" in said_of(port)


def test_a_number_that_is_no_port_is_said_in_a_line():
    assert "--port 99999: cannot listen there: ports end at 65535" in said_of("99999")

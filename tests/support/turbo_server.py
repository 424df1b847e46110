"""mlx-lm's server in a process of its own, with turbo caches or without, asked over plain HTTP."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import worker.models

REFERENCE = str(Path(worker.models.__file__).parent / "reference")
FACT = "the code of anna miller is four seven two nine . "
TURBO = [sys.executable, "-m", "worker.turbo", "server", "--value-bits", "8"]


class Server:
    """A server of its own process; ``log`` has the lines that it wrote."""

    def __init__(self, command, *flags):
        given = ["--model", REFERENCE, "--port", "0", "--temp", "0", *flags]
        alone = os.environ | {"HF_HUB_CACHE": "/nowhere"}  # nothing was ever fetched here
        self.process = subprocess.Popen(
            [*command, *given], stderr=subprocess.PIPE, text=True, env=alone
        )
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if "Starting httpd" in line:
                break
        else:
            raise AssertionError("".join(self.log))
        self.reading = Thread(target=self.log.extend, args=(self.process.stderr,))
        self.reading.start()
        self.port = listening(self.process.pid)

    def ask(self, prompt, max_tokens=6, **more):
        """Return status and answer to a text or to messages."""
        chat = isinstance(prompt, list)
        path, key = ("chat/completions", "messages") if chat else ("completions", "prompt")
        return self.post(path, {key: prompt, "max_tokens": max_tokens, **more})

    def post(self, path, body):
        try:
            with self.open(path, body) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def open(self, path, body):
        address = f"http://127.0.0.1:{self.port}/v1/{path}"
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps(body).encode(), kind)
        return urllib.request.urlopen(request)  # noqa: S310  http, as it stands above

    def stop(self):
        self.process.terminate()
        self.reading.join()
        self.process.wait()
        self.process.stderr.close()


def listening(pid):
    """Return the port that a process listens on, by what Linux says of it."""
    held = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *rest = line.split()
        if state == "0A" and f"socket:[{rest[5]}]" in held:
            return int(local.partition(":")[2], 16)
    raise AssertionError("it listens nowhere")


@contextmanager
def serving(command, *flags):
    server = Server(command, *flags)
    try:
        yield server
    finally:
        server.stop()

"""A GitHub on the loopback: comments, labels and events of pull request 7, and issues."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPOSITORY = "/repos/somebody/something"
PULL_REQUEST = f"{REPOSITORY}/issues/7"
BOT = "github-actions[bot]"


class Api(ThreadingHTTPServer):
    """Holds lists by path; with ``forbidden`` it lets nobody write."""

    def __init__(self, *, forbidden=False, comments=(), labels=(), events=()):
        super().__init__(("127.0.0.1", 0), Answers)
        self.forbidden, self.comments, self.issues = forbidden, list(comments), []
        self.lists = {
            f"{PULL_REQUEST}/comments": self.comments,
            f"{PULL_REQUEST}/labels": list(labels),
            f"{PULL_REQUEST}/events": list(events),
            f"{REPOSITORY}/issues": self.issues,
        }
        self.asked, self.tokens = [], set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """GitHub's answers, as its REST API documents them."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path not in self.server.lists:
            self._answer(403, {"message": "Resource not accessible by integration"})
            return
        page = int(query.rpartition("page=")[2])
        self._answer(200, self.server.lists[path][100 * (page - 1) : 100 * page])

    def do_POST(self):
        held = self.server.lists.setdefault(self.path, [])
        new = {"id": 1000 + len(held), "number": 100 + len(held), "user": {"login": BOT}}
        self._write(new | {"state": "open"}, held.append)

    def do_PATCH(self):
        number = int(self.path.rpartition("/")[2])
        held, key = self.server.comments, "id"
        if re.fullmatch(f"{REPOSITORY}/issues/[0-9]+", self.path):
            held, key = self.server.issues, "number"
        (old,) = [one for one in held if one[key] == number]
        self._write(old, lambda _: None)

    def _write(self, one, keep):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.forbidden:
            self._answer(403, {"message": "Resource not accessible by integration"})
            return
        one.update(told | {"html_url": f"{self.server.address}/{one['id']}"})
        keep(one)
        self._answer(201, one)

    def _answer(self, status, document):
        self.server.asked.append((self.command, self.path.partition("?")[0]))
        self.server.tokens.add(self.headers["Authorization"])
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_):
        """Keep quiet."""


@contextmanager
def serving():
    """Give a function that starts a fake GitHub on the loopback; all are ended afterwards."""
    started = []

    def start(**keys):
        api = Api(**keys)
        threading.Thread(target=api.serve_forever).start()
        started.append(api)
        return api

    try:
        yield start
    finally:
        for api in started:
            api.shutdown()
            api.server_close()

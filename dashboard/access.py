"""The password that a dashboard asks for when other machines can reach it: once a browser session.

It stands before everything, websockets too: without the cookie that a right password gives, a
browser gets a form and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PASSWORD = "TURBOFARM_DASHBOARD_PASSWORD"  # noqa: S105  the variable's name
COOKIE = "turbofarm"
LOGIN = "turbofarm-login"
LIFETIME = 30 * 86_400.0  # seconds: a cookie ends with the browser session, or after this
# After this many wrong tries each further one waits, twice as long as the last, up to a minute.
FREE_TRIES, FIRST_WAIT, LONGEST_WAIT = 3, 1.0, 60.0
LARGEST_FORM = 10_000  # bytes
MOST_CLIENTS = 1000
REFUSED = 1008  # websocket: policy violation

FORM = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Turbofarm</title>
<style>body{{font:16px sans-serif;margin:15vh auto;max-width:20rem;padding:0 1rem}}
input,button{{font:inherit;width:100%;padding:.5rem;margin:.3rem 0;box-sizing:border-box}}
@media(prefers-color-scheme:dark){{body{{background:#0e1117;color:#fafafa}}}}</style>
<h1>Turbofarm</h1><form method="post" action="{action}">
<label>Password<input type="password" name="password" autofocus autocomplete="current-password">
</label><input type="hidden" name="next" value="{target}"><button>Open</button></form>
<p role="alert">{trouble}</p></html>"""


class Tickets:
    """Signed cookies: whoever has one gave the right password; a new password ends all of them."""

    def __init__(self, password: str, clock: Callable[[], float] = time.time) -> None:
        self._key = hashlib.sha256(b"turbofarm cookie" + password.encode()).digest()
        self._clock = clock

    def issue(self) -> str:
        """Return a cookie's value: when it ends, something random, and the signature of both."""
        said = f"{self._clock() + LIFETIME:.0f}.{secrets.token_hex(8)}"
        return f"{said}.{self._sign(said)}"

    def valid(self, value: str) -> bool:
        """Tell whether a value was issued with this password and has not ended."""
        said, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(said).encode()):
            return False
        return float(said.partition(".")[0]) > self._clock()

    def _sign(self, said: str) -> str:
        return hmac.new(self._key, said.encode(), hashlib.sha256).hexdigest()


@dataclass
class Client:
    """A machine that tries passwords, and how many wrong ones it gave in a row."""

    wrong: int = 0
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def wait(self) -> float:
        """Return the seconds before its next try is looked at."""
        over = self.wrong - FREE_TRIES
        return min(FIRST_WAIT * 2.0**over, LONGEST_WAIT) if over >= 0 else 0.0


class Gate:
    """An ASGI middleware that lets only browsers with a ticket through, if a password is set."""

    def __init__(
        self,
        app: ASGIApp,
        password: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._password = password if password is not None else os.environ.get(PASSWORD, "")
        self._tickets = Tickets(self._password)
        self._sleep = sleep
        self._clients: dict[str, Client] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed; answer all else with the form, or shut the websocket."""
        if scope["type"] == "lifespan" or not self._password or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": REFUSED})
        else:
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        # Request reads headers alone here, which a websocket has too.
        cookies = Request({**scope, "type": "http"}).cookies
        return self._tickets.valid(cookies.get(COOKIE, ""))

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return _form(request, target)
        given, target = _fields(await _body(request))
        client = self._client(request)
        # One after the other, so that many tries at once are no faster than one.
        async with client.one_at_a_time:
            await self._sleep(client.wait())
            right = hmac.compare_digest(given.encode(), self._password.encode())
            client.wrong = 0 if right else client.wrong + 1
        if not right:
            return _form(request, target, "Wrong password.")
        response = RedirectResponse(_own(target), status_code=303)
        response.set_cookie(
            COOKIE,
            self._tickets.issue(),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    def _client(self, request: Request) -> Client:
        name = request.client.host if request.client else ""
        if name not in self._clients and len(self._clients) >= MOST_CLIENTS:
            self._clients.pop(next(iter(self._clients)))
        return self._clients.setdefault(name, Client())


async def _body(request: Request) -> bytes:
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > LARGEST_FORM:
            return b""
    return found


def _fields(body: bytes) -> tuple[str, str]:
    """Return password and target of the form."""
    fields = parse_qs(body.decode(errors="replace"))
    return fields.get("password", [""])[0], fields.get("next", ["/"])[0]


def _own(target: str) -> str:
    """Return a target if it is a path of this very server, else its root."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if inside and target.isprintable() else "/"


def _form(request: Request, target: str, trouble: str = "") -> Response:
    action = escape(request.url.path, quote=True)
    text = FORM.format(action=action, target=escape(_own(target), quote=True), trouble=trouble)
    headers = {"Cache-Control": "no-store", "X-Frame-Options": "DENY"}
    return HTMLResponse(text, status_code=401, headers=headers)

"""The password: once a browser session, before everything, slow after wrong tries."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboard.access import COOKIE, LIFETIME, Gate, Tickets

PASSWORD = "bandwidth"  # noqa: S105  of this test


async def page(request):
    return PlainTextResponse("the pages")


async def talk(websocket):
    await websocket.accept()
    await websocket.send_text("the pages")
    await websocket.close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def browser(waits):
    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(0)

    inside = Starlette(routes=[Route("/{path:path}", page), WebSocketRoute("/stream", talk)])
    return TestClient(Gate(inside, PASSWORD, sleep), follow_redirects=False)


def log_in(browser, password=PASSWORD, target="/run?record=5"):
    return browser.post("/run", data={"password": password, "next": target})


def test_without_a_password_nothing_is_asked():
    inside = Starlette(routes=[Route("/{path:path}", page)])
    assert TestClient(Gate(inside, "")).get("/devices").text == "the pages"


def test_nothing_is_shown_before_the_password(browser):
    answer = browser.get("/devices?cache=fp16")
    assert answer.status_code == 401
    assert "the pages" not in answer.text
    assert 'value="/devices?cache=fp16"' in answer.text


def test_a_websocket_is_shut_before_the_password(browser):
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/stream") as socket:
        socket.receive_text()


def test_one_password_opens_every_page_and_the_websocket(browser):
    answer = log_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/run?record=5")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "max-age" not in cookie
    assert browser.get("/devices").text == "the pages"
    with browser.websocket_connect("/stream") as socket:
        assert socket.receive_text() == "the pages"


def test_the_third_wrong_try_and_each_further_one_waits_twice_as_long(browser, waits):
    for _ in range(6):
        assert "Wrong password" in log_in(browser, "guess").text
    assert waits == [0, 0, 0, 1, 2, 4]
    log_in(browser)
    browser.cookies.clear()
    log_in(browser, "guess")
    assert waits[-1] == 0


def test_no_wait_is_longer_than_a_minute(browser, waits):
    for _ in range(15):
        log_in(browser, "guess")
    assert max(waits) == 60


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", ""]
)
def test_after_the_password_nobody_is_sent_elsewhere(browser, target):
    assert log_in(browser, target=target).headers["location"] == "/"


def test_an_address_in_the_form_is_never_markup(browser):
    answer = browser.get("/x?a=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in answer.text


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"password=" + b"x" * 20_000, b"next=/"])
def test_an_odd_form_is_a_wrong_password(browser, body):
    assert browser.post("/", content=body).status_code == 401


def test_a_cookie_of_another_password_or_time_is_none():
    now = 1000.0
    mine = Tickets(PASSWORD, lambda: now)
    value = mine.issue()
    assert mine.valid(value)
    assert not Tickets("other", lambda: now).valid(value)
    assert not Tickets(PASSWORD, lambda: now + LIFETIME + 1).valid(value)
    late = str(float(value.partition(".")[0]) + 1)
    assert not mine.valid(value.replace(value.partition(".")[0], late))


@pytest.mark.parametrize("value", ["", ".", "..", "x.y.z", "9" * 400, "é.ü.ß"])
def test_an_odd_cookie_is_none(browser, value):
    browser.cookies.set(COOKIE, value.encode("ascii", "ignore").decode())
    assert browser.get("/").status_code == 401
    assert not Tickets(PASSWORD).valid(value)

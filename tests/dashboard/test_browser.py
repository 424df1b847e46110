"""The pages as a browser shows them; screenshots go to ``artefacts/``."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from dashboard.access import PASSWORD
from dashboard.database import VARIABLE
from db.engine import open_database
from farm.commands.dashboard import command
from hostile_farm import EVIL, fill_hostile
from ports import free_port

CHROMIUM = "/usr/bin/chromium"
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
PAGES = {
    "": "Tonight",
    "devices": "Devices",
    "bandwidth": "Bandwidth",
    "commits": "Commits",
    "caches": "Caches",
    "quality": "Quality",
    "trust": "Trust",
    "run?record=500": "Run",
}
WIDTHS = (1280, 390)

# Streamlit's client asks for its own address below each path before it asks at the root.
PROBES = ("_stcore/health", "_stcore/host-config")

SETTLED = """
    !document.querySelector("[data-testid=stSkeleton]") &&
    [...document.querySelectorAll("[data-testid=stVegaLiteChart]")].every(
        chart => !chart.checkVisibility() || chart.querySelector("canvas, svg")
    )
"""
PATIENCE = 120_000.0  # milliseconds, on a machine that does much else
DRAWN = "document.querySelector('[data-testid=stVegaLiteChart] canvas')?.toDataURL()"

pytestmark = pytest.mark.browser


@contextmanager
def server(database, base="", **environment):
    """Run the dashboard as ``farm dashboard`` does and give its address."""
    port = free_port()
    process = subprocess.Popen(
        command("127.0.0.1", port, base),
        env=os.environ | {VARIABLE: str(database)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert any("URL:" in line for line in process.stdout), "it ended at once"
        yield f"http://127.0.0.1:{port}/{base}".rstrip("/")
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def address(example_database):
    if not Path(CHROMIUM).exists():
        if os.environ.get("FARM_REQUIRE_BROWSER") == "1":
            pytest.fail(f"FARM_REQUIRE_BROWSER=1, but there is no {CHROMIUM}")
        pytest.skip(f"no {CHROMIUM}; install it with: apt-get install chromium")
    with server(example_database) as running:
        yield running


@pytest.fixture(scope="module")
def browser(address):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def tab(browser):
    """Give a page of a new browser profile; fail on any exception or console error in it."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda message: note(message, trouble))
    yield page
    context.close()
    assert trouble == []


def note(message, trouble):
    probe = any(part in message.location["url"] for part in PROBES)
    if message.type == "error" and not probe:
        trouble.append(f"{message.text} {message.location}")


def settle(page):
    """Wait until the script is done and its charts are drawn."""
    page.wait_for_selector("h1")
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_function(SETTLED)


def await_everything_in_sight(page):
    """Wait until nothing sticks out to the side: charts follow a new width some frames later."""
    page.wait_for_function(
        "document.documentElement.scrollWidth <= window.innerWidth"
        " && document.querySelector('[data-testid=stMain]').scrollWidth <= window.innerWidth"
    )


def photograph(page, path):
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height + 40})
    settle(page)
    page.screenshot(path=path)


@pytest.mark.parametrize(("path", "title"), PAGES.items())
def test_a_page_opens_whole_and_without_an_error(browser, address, path, title):
    ARTEFACTS.mkdir(exist_ok=True)
    with tab(browser) as page:
        page.goto(f"{address}/{path}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            settle(page)
            assert page.locator("h1").first.inner_text() == title
            assert page.locator("[data-testid=stException]").count() == 0
            await_everything_in_sight(page)
            photograph(page, ARTEFACTS / f"{title.lower()}-{width}.png")


def choose(page, label, option):
    page.get_by_role("combobox", name=label, exact=False).click()
    page.get_by_role("option", name=option, exact=True).click()
    settle(page)


def test_the_part_of_a_record_that_is_open_is_in_its_link(browser, address):
    with tab(browser) as page:
        page.goto(f"{address}/run?record=500")
        settle(page)
        choose(page, "Part", "Environment")
        page.wait_for_url("**part=Environment**")


def test_a_filter_changes_the_chart_and_its_link_opens_the_same_view(browser, address):
    with tab(browser) as page:
        page.goto(f"{address}/caches")
        settle(page)
        before = page.evaluate(DRAWN)
        choose(page, "Context", "16K")
        page.wait_for_url("**context=16K**")
        page.wait_for_function(f"before => ({DRAWN}) !== before", arg=before)
        link = page.url
    with tab(browser) as page:
        page.goto(link)
        settle(page)
        page.wait_for_selector("h3:has-text('For 16K')")


def test_the_address_of_a_bare_page_says_its_defaults_and_one_step_back_is_the_page_before(
    browser, address
):
    with tab(browser) as page:
        page.goto(f"{address}/trust")
        settle(page)
        page.get_by_role("link", name="Caches").click()
        page.wait_for_url("**/caches?**context=4K**")
        settle(page)
        choose(page, "Context", "16K")
        page.wait_for_url("**context=16K**")
        page.go_back()
        page.wait_for_url("**context=4K**")
        page.wait_for_selector("h3:has-text('For 4K')")


def test_a_click_on_a_point_of_the_timeline_opens_its_record(browser, address):
    with tab(browser) as page:
        page.goto(f"{address}/commits?view=Timeline")
        settle(page)
        page.locator("[data-testid=stVegaLiteChart] path[aria-label*='link: run']").last.click()
        page.wait_for_url("**/run?record=*")


def test_text_from_elsewhere_fetches_nothing_and_makes_no_link(browser, tmp_path):
    engine = open_database(str(tmp_path / "hostile.db"))
    fill_hostile(engine)
    engine.dispose()
    asked = []
    with server(tmp_path / "hostile.db") as running, tab(browser) as page:
        page.on("request", lambda request: asked.append(request.url))
        evil = "![x](http://evil.example/x.png) https://evil.example www.evil.example"
        for path in ("", f"devices?{urlencode({'cache': evil})}", "commits", "run?record=2"):
            page.goto(f"{running}/{path}")
            settle(page)
            page.wait_for_timeout(500)
            assert page.locator(f"[href*='{EVIL}'], [src*='{EVIL}']").count() == 0
    assert not [url for url in asked if urlsplit(url).hostname == EVIL]


def test_below_a_base_path_one_password_opens_every_page_and_every_link(browser, example_database):
    secret = {PASSWORD: "bandwidth"}
    with server(example_database, "farm", **secret) as running:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{running}/run?record=500")
        page.get_by_label("Password").fill("bandwidth")
        page.get_by_role("button", name="Open").click()
        page.wait_for_selector("h1:has-text('Run')")
        settle(page)
        other = context.new_page()
        other.goto(f"{running}/devices")
        settle(other)
        assert other.locator("h1").first.inner_text() == "Devices"
        assert page.locator("a[href^='/run'], a[href^='/devices']").count() == 0
        context.close()

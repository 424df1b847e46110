"""The documentation: its site is built without network, and its commands are run."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

import documented
import lab
from documented import DOCUMENTS, PAGES, REPOSITORY
from documented_sessions import SESSIONS, session
from farm import reference
from farm.__main__ import commands, main
from farm.plan.inventory import Host, Inventory, Subject

CHROMIUM = "/usr/bin/chromium"
NETNS = pytest.mark.network_namespaces
PATIENCE = 120_000.0  # milliseconds, on a machine that does much else
LISTS = REPOSITORY / "artefacts" / "documented-commands.txt"


def sessions():
    """Return each session of each page as a case."""
    return [
        pytest.param(
            page,
            name,
            id=f"{page.relative_to(REPOSITORY / 'docs')}-{name}",
            marks=(NETNS,) if name == "lab" else (),
        )
        for page in PAGES
        for name in dict.fromkeys(step.session for step in documented.steps(page))
    ]


def test_every_command_is_listed_with_how_it_is_run():
    rows = list(documented.table())
    LISTS.parent.mkdir(exist_ok=True)
    LISTS.write_text("\n".join(" | ".join(row) for row in rows) + "\n")
    assert len(rows) > 100
    unheard_of = {
        step.session for page in PAGES for step in documented.steps(page)
    } - SESSIONS.keys()
    assert not unheard_of


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("page", "name"), sessions())
def test_the_commands_of_a_page_do_what_the_page_says(page, name, tmp_path):
    if name == "lab":
        lab.need()
    with session(name, tmp_path) as place:
        for step in documented.steps(page):
            if step.session == name:
                place.do(step)


def mentions(*first):
    """Return each mention whose command is one of ``first``, once."""
    found = [one for path in [*PAGES, *DOCUMENTS] for one in documented.mentions(path)]
    chosen = {one.text: one for one in found if one.words[0] in first}
    return [pytest.param(one, id=text) for text, one in chosen.items()]


@pytest.mark.parametrize("mention", mentions("farm"))
def test_each_command_of_the_farm_that_is_named_has_the_options_that_are_named(mention):
    name = next((word for word in mention.words[1:] if word in commands()), None)
    shown = io.StringIO()
    with pytest.raises(SystemExit) as ended, redirect_stdout(shown):
        main([name, "--help"] if name else ["--help"])
    assert ended.value.code == 0
    options = [word for word in mention.words if word.startswith("--")]
    assert [one for one in options if one not in shown.getvalue()] == []
    if len(mention.words) > 1 and mention.words[1].isalpha():
        assert name == mention.words[1]


@pytest.mark.parametrize("mention", mentions("make"))
def test_each_target_of_make_that_is_named_is_there(mention):
    target = mention.words[1:2]
    subprocess.run(["make", "--dry-run", *target], cwd=REPOSITORY, check=True, capture_output=True)


@pytest.mark.parametrize("mention", mentions("python"))
def test_each_module_and_script_that_is_named_is_there(mention):
    program = mention.words[1:3]
    if program[0] == "-m":
        assert find_spec(program[1]), mention.text
    else:
        assert (REPOSITORY / program[0]).exists()


class Loaded(HTMLParser):
    """Collects what a browser loads by itself with a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source"}:
            self.addresses.append(given.get("src"))
        elif tag == "link" and given.get("rel") not in {"canonical", "prev", "next"}:
            self.addresses.append(given.get("href"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as ``make docs`` does, where there is no network if that can be had."""
    folder = tmp_path_factory.mktemp("site") / "site"
    alone = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
    done = subprocess.run(
        [*alone, sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        for address in Loaded(page.read_text()).addresses:
            if address and not address.startswith("data:"):
                assert not re.match(r"(https?:)?//", address), f"{page}: {address}"
                base = site if address.startswith("/") else page.parent
                assert (base / address.lstrip("/").partition("?")[0]).exists(), f"{page}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text()), style


@pytest.mark.slow
def test_the_reference_has_every_command_option_metric_and_key(site):
    shown = (site / "reference" / "commands.html").read_text()
    for name in commands():
        assert f"farm {name}" in shown
        for action in reference.command(name)._actions:
            assert all(option in shown for option in action.option_strings)
    keys = (site / "reference" / "inventory.html").read_text()
    for model in (Inventory, Subject, Host):
        for name, field in model.model_fields.items():
            assert f"<code>{field.alias or name}</code>" in keys
            assert field.description, f"{model.__name__}.{name}: give it a description"


def test_every_column_of_the_database_has_a_reason():
    text = reference.pages()["reference/tables.md"]
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        reasons, _, declared = section.partition("Declared as:")
        for column in re.findall(r"^\| (`\w+`) \|", declared, flags=re.MULTILINE):
            assert column in reasons, f"{section.partition(':')[0]}: {column} has no reason"


@pytest.mark.slow
def test_documents_of_the_repository_are_pages_of_the_site_and_link_to_them(site):
    index = (site / "index.html").read_text()
    for page in ("explanation/turbo.html", "mac.html", "explanation/architecture.html"):
        assert f'href="{page}"' in index
    assert Path(site / "explanation" / "judge.html").exists()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Keep quiet."""


@contextmanager
def served(folder):
    """Serve a folder on the loopback and give its address."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_shows_the_site_at_both_widths_finds_things_and_asks_nobody_else(site):
    if not Path(CHROMIUM).exists():
        if os.environ.get("FARM_REQUIRE_BROWSER"):
            pytest.fail(f"no {CHROMIUM}; apt-get install chromium")
        pytest.skip(f"no {CHROMIUM}")
    LISTS.parent.mkdir(exist_ok=True)
    asked = []
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.set_default_timeout(PATIENCE)
            page.on("request", lambda request: asked.append(request.url))
            for name in ("index", "tutorial", "how-to/gate", "reference/commands"):
                page.goto(f"{address}/{name}.html")
                shot = LISTS.parent / f"docs-{name.replace('/', '-')}-{width}.png"
                page.screenshot(path=shot)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} scrolls sideways at {width}"
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/tutorial.html")
        box = page.get_by_role("textbox", name="Search")
        box.click()
        box.press_sequentially("utilization")
        found = page.locator(".md-search-result__link").first
        # Each letter is searched for: what is found first changes.
        expect(found).to_contain_text("What memory bandwidth explains", timeout=PATIENCE)
        browser.close()
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()

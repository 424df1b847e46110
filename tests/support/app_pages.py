"""The dashboard's pages as tests open them, without a browser."""

import re
from pathlib import Path

from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.database import VARIABLE
from dashboard.plain import JOINER

APP = Path(dashboard.__file__).with_name("app.py")
# Name, the file of the page, and what chooses a part of it.
PAGES = {
    "tonight": ("tonight", {}),
    "devices": ("devices", {}),
    "bandwidth": ("bandwidth", {}),
    "regressions": ("commits", {"view": "Regressions"}),
    "timeline": ("commits", {"view": "Timeline"}),
    "compare": ("commits", {"view": "Compare two commits"}),
    "caches": ("caches", {}),
    "quality": ("quality", {}),
    "trust": ("trust", {}),
    "run": ("run", {"record": "400"}),
}


def opened(monkeypatch, database, page=None, **query):
    """Return the app after one run of a page, on a database."""
    monkeypatch.setenv(VARIABLE, str(database))
    app = AppTest.from_file(str(APP), default_timeout=60)
    if page:
        app.run()
        app.switch_page(f"views/{page}.py")
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def texts(elements):
    """Return what elements say, without the backslashes and joiners that keep it from markup."""
    return " ".join(read(element.value) for element in elements)


def read(text):
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", str(text).replace(JOINER, ""))

"""Text from elsewhere is never markup, on no page."""

import re

import pytest

from app_pages import PAGES, opened
from db.engine import open_database
from hostile_farm import fill_hostile

# Markup that no backslash stands before, or an address that a page would make a link of.
ALIVE = re.compile(
    r"(?<!\\)(<img|!\[|\]\(http|:red\[|\$e|`c`|\*b\*)|://evil\.|www\\?\.evil", re.IGNORECASE
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "farm.db"
    engine = open_database(str(path))
    fill_hostile(engine)
    engine.dispose()
    return path


CASES = [*((page, {}) for page in PAGES), ("run", {"record": "1"}), ("run", {"record": "2"})]


@pytest.mark.parametrize(("page", "more"), CASES)
def test_names_reasons_and_messages_are_shown_as_they_are(monkeypatch, hostile, page, more):
    name, fixed = PAGES[page]
    app = opened(monkeypatch, hostile, name, **(fixed | more))
    assert not app.exception
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error")
    said = [element.value for kind in kinds for element in getattr(app, kind)]
    said += [element.label for element in (*app.metric, *app.expander, *app.button)]
    assert said
    for text in said:
        assert not ALIVE.search(text)
        assert len(text) < 2000

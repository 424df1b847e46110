"""Addresses: whatever they ask for, a page answers; and they say all that is shown."""

import pytest

from app_pages import PAGES, opened, texts

ODD = ["", "inf", "-9223372036854775809", "![x](http://evil.example/x.png)<b>\x00" * 10]


@pytest.fixture
def shown(monkeypatch, example_database):
    def show(page, **query):
        return opened(monkeypatch, example_database, page, **query)

    return show


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_no_odd_value_of_any_parameter_breaks_a_page(shown, page):
    name, fixed = PAGES[page]
    asked = dict(shown(name, **fixed).query_params)
    for odd in ODD:
        app = shown(name, **{key: fixed.get(key, odd) for key in asked} | {"record": odd})
        assert not app.exception
        assert not app.error
        assert "http://" not in " ".join(element.value for element in app.warning)


@pytest.mark.parametrize("page", PAGES)
def test_an_address_says_all_that_is_shown_and_opens_the_same(shown, page):
    name, fixed = PAGES[page]
    first = shown(name, **fixed)
    for widget in (*first.selectbox, *first.multiselect, *first.toggle):
        assert widget.key in first.query_params
    again = shown(name, **first.query_params)
    assert again.query_params == first.query_params
    assert texts(again.markdown) == texts(first.markdown)
    assert not again.warning or texts(again.warning) == texts(first.warning)


def test_what_a_reader_chooses_is_in_the_address_at_once(shown):
    app = shown("caches")
    app.selectbox(key="context").set_value(16384).run()
    assert app.query_params["context"] == "16K"
    assert "For 16K" in texts(app.markdown)

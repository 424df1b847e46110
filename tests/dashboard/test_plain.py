from hypothesis import given
from hypothesis import strategies as st

from dashboard.plain import JOINER, plain


@given(st.text())
def test_a_text_is_one_line_without_live_punctuation(text):
    shown = plain(text)
    assert "\n" not in shown
    bare = shown
    for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~":
        bare = bare.replace(f"\\{mark}", "")
    assert not set(bare) & set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@given(st.text(min_size=300))
def test_a_long_text_is_cut(text):
    assert len(plain(text, 50).replace("\\", "").replace(JOINER, "")) <= 50


def test_what_makes_links_of_bare_words_is_broken_up():
    shown = plain("www.evil.example https://evil.example a@b.c :smile:")
    assert "www." not in shown
    assert "www\\." not in shown
    assert "\\:\\/" not in shown

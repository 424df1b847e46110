"""Texts that quality is measured on: the corpus, the English text that comes with us, a file."""

from __future__ import annotations

import sys

import pytest
from mlx_lm.utils import load_tokenizer

from worker.generation import held_out
from worker.models import REFERENCE
from worker.refusal import RefusalError
from worker.text import passages

DEPTHS = (0.0, 0.5, 1.0)


def count_words(text):
    return len(text.split())


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(REFERENCE)


def test_the_english_text_is_long_enough_for_4096_tokens_and_1024_positions_of_any_model():
    assert count_words(passages.read("english")) > 4096 + 1024


def test_a_file_is_read_from_its_beginning(tokenizer, tmp_path):
    (tmp_path / "a.txt").write_text("the horse of the lamb . " * 9)
    tokens = held_out(tokenizer, 12, str(tmp_path / "a.txt"))
    assert tokenizer.decode(tokens).split() == ["the", "horse", "of", "the", "lamb", "."] * 2


def test_a_text_too_short_is_refused_with_both_lengths(tokenizer, tmp_path):
    (tmp_path / "a.txt").write_text("the horse of the lamb .")
    with pytest.raises(RefusalError, match="6 tokens of this model, and 100 are read"):
        held_out(tokenizer, 100, str(tmp_path / "a.txt"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_what_is_no_text_file_is_refused(tmp_path, content):
    if content:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(RefusalError, match="no text file of this host"):
        passages.read(str(tmp_path / "a"))


def test_sentences_end_at_full_stops_and_lines_do_not_matter():
    assert passages.sentences("One, two.\n Three\nfour? Five!") == [
        "One, two.",
        "Three four?",
        "Five!",
    ]


@pytest.mark.parametrize("context", [512, 2048])
def test_needles_are_hidden_in_the_sentences_of_a_text(context):
    haystack = passages.needles(0, context, DEPTHS, count_words, passages.read("english"))
    assert "Sherlock Holmes" in haystack.text
    for needle in haystack.needles:
        assert haystack.text.count(f"{needle.question} {needle.answer}.") == 1
        before = count_words(haystack.text.split(needle.question)[0])
        assert before == pytest.approx(needle.depth * count_words(haystack.text), abs=120)
        used = count_words(f"{haystack.text} {needle.question} {needle.answer}")
        assert context - 120 < used <= context


def test_the_same_needles_are_hidden_each_time_and_others_for_another_seed():
    one, again, other = (
        passages.needles(seed, 512, DEPTHS, count_words, passages.read("english")).needles
        for seed in (3, 3, 4)
    )
    assert one == again != other


def test_a_text_that_cannot_fill_the_context_is_refused():
    with pytest.raises(ValueError, match="cannot fill a context"):
        passages.needles(0, 512, DEPTHS, count_words, "The lamb sees the horse. " * 9)


def test_python_s_own_documents_are_long_and_the_same_each_time():
    text = passages.read("pydoc")
    assert text == passages.read("pydoc")
    assert len(text) > 400_000


def test_a_python_without_its_documents_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(RefusalError, match="text 'pydoc': .*; name a file, or 'english'"):
        passages.read("pydoc")

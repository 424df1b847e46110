"""The corpus: the same text from the same seed, and facts that can be recalled."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from worker.text import corpus

CONTEXTS = (256, 1024, 4096)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def count_words(text: str) -> int:
    return len(text.split())


def test_a_seed_gives_the_same_text_and_another_seed_another():
    assert corpus.text(3, 50) == corpus.text(3, 50)
    assert corpus.text(3, 50) != corpus.text(4, 50)
    assert corpus.needles(3, 512, DEPTHS, count_words) == corpus.needles(
        3, 512, DEPTHS, count_words
    )


def test_a_text_has_as_many_sentences_as_asked():
    assert corpus.text(1, 40).count(" .") == 40


def test_each_word_has_one_role_and_plurals_are_spelt_right():
    assert max(Counter(corpus.VOCABULARY).values()) == 1
    assert not [
        word for word in corpus.VOCABULARY if word.endswith(("chs", "shs", "xs", "oys", "cys"))
    ]


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_haystack_fills_its_context_with_question_and_answer(context):
    haystack = corpus.needles(0, context, DEPTHS, count_words)
    for needle in haystack.needles:
        used = count_words(f"{haystack.text} {needle.question} {needle.answer}")
        assert context - 30 < used <= context


@pytest.mark.parametrize("context", CONTEXTS)
def test_facts_lie_at_their_depths_within_two_sentences(context):
    haystack = corpus.needles(1, context, DEPTHS, count_words)
    for needle in haystack.needles:
        before = count_words(haystack.text.split(needle.question)[0])
        assert before == pytest.approx(needle.depth * count_words(haystack.text), abs=30)


@pytest.mark.parametrize("seed", range(5))
def test_a_question_is_answered_once_and_asked_of_others_who_share_the_name(seed):
    haystack = corpus.needles(seed, 1024, DEPTHS, count_words)
    for needle in haystack.needles:
        assert haystack.text.count(needle.question) == 1
        assert f"{needle.question} {needle.answer} ." in haystack.text
    assert haystack.text.count(" of ") > len(DEPTHS)


def test_depths_may_be_asked_in_any_order():
    haystack = corpus.needles(0, 512, (1.0, 0.0), count_words)
    late, early = haystack.needles
    assert (late.depth, early.depth) == (1.0, 0.0)
    assert haystack.text.index(early.question) < haystack.text.index(late.question)


def test_a_tokenizer_that_adds_a_token_to_each_text_does_not_shrink_the_haystack():
    plain = corpus.needles(0, 512, DEPTHS, count_words)
    marked = corpus.needles(0, 513, DEPTHS, lambda text: count_words(text) + 1)
    assert marked == plain


def test_a_context_too_short_for_its_facts_is_refused():
    with pytest.raises(ValueError, match="cannot hide 5 facts"):
        corpus.needles(0, 64, DEPTHS, count_words)


@pytest.mark.parametrize("facts", [0.02, 0.3, 0.9])
def test_recalled_values_of_a_batch_stand_in_the_text_before(facts):
    ids, recalled = corpus.batch(np.random.default_rng(0), 8, 512, facts)
    assert ids.shape == recalled.shape == (8, 512)
    assert recalled.any()
    for document, flags in zip(ids, recalled, strict=True):
        starts = np.flatnonzero(flags & ~np.roll(flags, 1))
        for start in starts[starts <= 508]:
            fact = " ".join(map(str, document[start - 6 : start + 4]))
            assert fact in " ".join(map(str, document[: start - 6]))

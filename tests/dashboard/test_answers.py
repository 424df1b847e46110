"""Answers that sessions share: made once, kept while their version stays."""

import threading

import pytest

from dashboard.answers import Answers


def test_an_answer_is_made_again_only_when_its_version_changes():
    answers, made = Answers(4), []

    def make():
        made.append(None)
        return len(made)

    assert [answers.get("q", version, make) for version in (1, 1, 2, 2)] == [1, 1, 2, 2]


def test_of_many_questions_those_asked_last_are_kept():
    answers = Answers(2)
    for question in ("a", "b", "a", "c"):
        answers.get(question, 1, question.lower)
    assert answers.get("a", 1, lambda: "made again") == "a"
    assert answers.get("b", 1, lambda: "made again") == "made again"


def test_a_question_that_fails_is_asked_again():
    answers = Answers(2)
    with pytest.raises(ZeroDivisionError):
        answers.get("q", 1, lambda: 1 / 0)
    assert answers.get("q", 1, lambda: "well") == "well"


def test_whoever_asks_while_an_answer_is_made_waits_and_does_not_make_it_too():
    answers, made = Answers(2), []
    begun, go_on = threading.Event(), threading.Event()

    def make():
        begun.set()
        go_on.wait()
        made.append(None)
        return "answer"

    found = []
    first = threading.Thread(target=lambda: found.append(answers.get("q", 1, make)))
    second = threading.Thread(target=lambda: found.append(answers.get("q", 1, make)))
    first.start()
    begun.wait()
    second.start()
    go_on.set()
    for thread in (first, second):
        thread.join()
    assert (found, made) == (["answer", "answer"], [None])


def test_one_question_does_not_wait_for_another():
    answers = Answers(2)
    assert answers.get("a", 1, lambda: answers.get("b", 1, lambda: "inner")) == "inner"

"""What hosts answer is checked: anything but an answer is that host's error, with a remedy."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.errors import FarmError, HostError
from farm.hosts import checkup, python
from farm.hosts.bootstrap import Site
from farm.hosts.python import Python
from farm.hosts.said import telling
from farm.hosts.side_by_side import side_by_side
from farm.hosts.ssh import shell
from farm.hosts.ssh.channel import Outcome
from farm.plan.inventory import Host
from library_errors import ERRORS

GOOD = {"python": "p", "version": "3.11.2", "base": "/p", "machine": "m", "time": 1.0, "free": 1}
ANSWERS = st.one_of(
    st.text(max_size=50),
    st.sampled_from(["", "[]", "null", "{}", "7", "[" * 5000, '{"attention_failures": 1}']),
    st.builds(
        lambda key, value: json.dumps(GOOD | {key: value}),
        st.sampled_from([*GOOD, "other"]),
        st.sampled_from([None, [], {}, "x", 10**400, float("inf"), float("nan"), True]),
    ),
)


class Answering:
    """A connection to a host that answers the same to everything."""

    name, host = "mini", Host(address="mini.local")

    def __init__(self, outcome):
        self.outcome = outcome

    def run(self, command, deadline, stdin=()):
        return self.outcome


@given(st.builds(Outcome, st.integers(-1, 3), ANSWERS, st.text(max_size=50)))
def test_whatever_a_host_answers_is_an_answer_or_an_error_of_that_host(outcome):
    connection = Answering(outcome)
    place = Site(connection, Python("p", "3.11.2", "/p", "m", 1.0, 0.0), "harness", "python")
    for ask in (lambda: python.find(connection), lambda: checkup.ask(place)):
        with suppress(HostError):
            ask()
    with pytest.raises(FarmError, match="mini"):
        checkup.prove(place)


def test_whatever_goes_wrong_on_one_host_is_that_host_s_error():
    def work(name):
        if name == "a":
            raise error
        return "done"

    for error in ERRORS:
        found = side_by_side(work, ["a", "b"])
        assert found["b"] == "done"
        assert isinstance(found["a"], HostError), error


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_what_comes_before_the_mark_is_passed_over_and_all_after_it_kept(before, after):
    said = before + b"\nMARK-1\n" + after
    assert shell.after("MARK-1", said) == after
    assert shell.after("MARK-1", before) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("xcode-select: note: No tools\nSee man xcode-select\n", "xcode-select: note: No tools"),
        ("WARNING: Retrying\nERROR: No distribution\nhint\n", "ERROR: No distribution"),
        (
            'Traceback (most recent call last):\n  File "x"\nOSError: No space\n',
            "OSError: No space",
        ),
        ("Traceback (most recent\n  x\nE: 1 error\n  field\nFor more: y\n", "E: 1 error"),
        (
            "ERROR: No matching distribution; see what to install.\n",
            "ERROR: No matching distribution; see what to install",
        ),
        ("waiting for it...\n", "waiting for it..."),
        ("\x1b]0;title\x07fatal: not a repository\n", "]0;titlefatal: not a repository"),
    ],
)
def test_of_all_that_a_program_said_the_line_that_tells_why_is_shown(text, line):
    assert telling(text) == line

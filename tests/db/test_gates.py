import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from db.queries import PROMISE, GateTally
from db.queries.gates import at_least


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, min(n, 300)), st.just(n))))
def test_the_tail_is_that_of_the_binomial_test(counted):
    hits, trials = counted
    expected = binomtest(hits, trials, PROMISE, alternative="greater").pvalue
    assert at_least(hits, trials, PROMISE) == pytest.approx(expected, abs=1e-9)


def test_a_promise_is_broken_by_false_alarms_alone():
    assert GateTally("a", "decode", 0.0, 100, 4, 0, 0).breaks_promise
    assert not GateTally("a", "decode", 0.0, 100, 1, 0, 0).breaks_promise
    assert not GateTally("a", "decode", 0.05, 100, 99, 0, 0).breaks_promise
    assert not GateTally("a", "decode", 0.0, 4, 0, 0, 4).breaks_promise

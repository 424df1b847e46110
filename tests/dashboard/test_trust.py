import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.analysis.trust import rate


def test_bounds_are_wilsons():
    found = rate(1, 10)
    assert (found.low, found.high) == pytest.approx((0.01788, 0.40415), abs=1e-4)


def test_no_false_alarm_in_few_gates_proves_little():
    assert rate(0, 40).high == pytest.approx(0.0876, abs=1e-3)


def test_what_was_never_counted_is_not_zero():
    assert str(rate(0, 0)) == "not measured"


@given(st.integers(1, 10_000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_share_lies_within_its_bounds(counted):
    hits, of = counted
    found = rate(hits, of)
    assert 0 <= found.low <= hits / of + 1e-12
    assert hits / of <= found.high + 1e-12 <= 1 + 1e-12

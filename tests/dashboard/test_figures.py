import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.analysis import figures


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (63.61, 63.2, 64.0, "63.6 ± 0.4"),
        (1234.5, 1200.0, 1260.0, "1,234 ± 30"),
        (0.05432, 0.0542, 0.0545, "0.0543 ± 0.0002"),
        (17.9, 17.9, 17.9, "17.9"),
        (2.5e-7, 2e-7, 3e-7, "2.5e-07 ± 5e-08"),
    ],
)
def test_a_figure_has_as_many_digits_as_its_spread_supports(value, low, high, text):
    assert figures.with_spread(value, low, high) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("kv_bytes", 1.5e9, "1.5 GB"),
        ("kv_bytes", 2.1e6, "2.1 MB"),
        ("kv_bytes", 12.0, "0.012 kB"),
        ("tpot", 0.0153, "15.3 ms"),
        ("read_bandwidth", 4.78e11, "478 GB/s"),
        ("top1_agreement", 0.981, "0.981"),
        ("never_heard_of", 3.0, "3"),
    ],
)
def test_a_unit_is_of_a_readable_size(metric, value, text):
    assert figures.shown(metric, value, value, value) == text


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_any_figure_can_be_written(value, spread):
    assert figures.with_spread(value, value - spread, value + spread)


def test_contexts_are_written_as_people_do():
    assert [figures.context(n) for n in (512, 4096, 5000, None)] == ["512", "4K", "5000", "any"]

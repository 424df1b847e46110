import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.judge.change_points import WINDOW, change_points


def series(size: int = 120, spread: float = 0.01, seed: int = 1, **steps: float) -> np.ndarray:
    logs = spread * np.random.default_rng(seed).standard_normal(size)
    for position, shift in steps.items():
        logs[int(position.removeprefix("at")) :] += shift
    return 100 * np.exp(logs)


def test_a_step_is_found_where_it_happens_with_its_size():
    (change,) = change_points(series(at70=-0.05))
    assert abs(change.position - 70) <= 1
    assert abs(change.effect + 0.05) < 0.01
    assert change.p < 1e-5


def test_an_unchanged_series_is_silent():
    assert change_points(series(300)) == []


def test_constant_and_short_series_are_silent():
    assert change_points([5.0] * 100) == []
    assert change_points([1.0, 2.0, 1.0]) == []


def test_a_step_without_noise_is_found():
    assert [c.position for c in change_points([5.0] * 30 + [6.0] * 30)] == [30]


def test_steps_below_the_smallest_effect_do_not_count():
    values = series(200, 0.001, at100=0.01)
    assert change_points(values) == []
    assert [c.position for c in change_points(values, smallest=0.005)] == [100]


def test_outliers_are_no_steps():
    values = series(200)
    values[[20, 90, 91, 150]] *= 1.5
    assert change_points(values) == []


def test_long_series_are_cut_in_windows_that_miss_nothing_at_their_seams():
    size = 4 * WINDOW + 37
    steps = {f"at{position}": 0.05 * (-1) ** i for i, position in enumerate(range(100, size, 100))}
    found = [c.position for c in change_points(series(size, **steps))]
    assert len(found) == len(steps)
    assert all(abs(f - 100 * (i + 1)) <= 2 for i, f in enumerate(found))


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 1e9), st.integers(0, 1000))
def test_units_do_not_matter(scale, seed):
    values = series(100, seed=seed, at50=0.06)
    there = [c.position for c in change_points(values)]
    assert [c.position for c in change_points(scale * values)] == there


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_rates_and_times_change_at_the_same_points(seed):
    values = series(100, seed=seed, at50=0.06)
    assert [c.position for c in change_points(1 / values)] == [
        c.position for c in change_points(values)
    ]

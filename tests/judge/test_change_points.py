import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.bench.uneven import drawn, false_steps, kinds
from farm.judge.change_points import WINDOW, change_points, changes


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


def positions(values):
    return [change.position for change in change_points(values)]


UNEVEN = (
    "quiet, then noisy",
    "noisy month",
    "slow nights",
    "two states",
    "two states that stay for a week",
    "noisy",
)


@pytest.mark.parametrize("kind", UNEVEN)
def test_noise_that_differs_within_a_series_is_no_step(kind):
    some = list(drawn(kinds()[kind], 5000, 20))
    false = sum(false_steps(positions(series.values), series) for series in some)
    assert 1000 * false / sum(series.values.size for series in some) <= 0.5
    assert not any(changes(series.values).slow for series in some)


@pytest.mark.parametrize("kind", ["10 steps of 3 %", "12 steps of 3 %"])
def test_a_window_may_hold_any_number_of_steps(kind):
    some = list(drawn(kinds()[kind], 5000, 10))
    found = [
        any(abs(position - step) <= 3 for position in positions(series.values))
        for series in some
        for step in series.steps
    ]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("noise", ["0.3%", "1.0%", "2.0%"])
def test_a_ramp_is_told_as_a_slow_change_and_no_step(noise):
    for series in drawn(kinds()[f"ramp of -10 %, noise {noise}"], 5000, 10):
        found = changes(series.values)
        (slow,) = found.slow
        assert slow.effect == pytest.approx(-0.1, abs=0.02)
        assert (slow.start, slow.end, found.steps) == (0, 199, ())


@pytest.mark.parametrize("noise", ["0.3%", "1.0%", "2.0%"])
def test_many_small_losses_are_told_however_quiet_the_machine(noise):
    told = [changes(s.values) for s in drawn(kinds()[f"20 drops of 1 %, noise {noise}"], 5000, 10)]
    assert all(found.slow or found.steps for found in told)
    assert sum(bool(found.slow) for found in told) >= 7


def test_a_slow_loss_of_years_is_one_change():
    (slow,) = changes(series(1000) * np.exp(np.linspace(0, -0.5, 1000))).slow
    assert (slow.start, slow.end) == (0, 999)
    assert slow.shift == pytest.approx(-0.5, abs=0.02)


def test_a_level_that_comes_once_and_goes_again_is_two_steps():
    values = series(120, 0.003, at40=-0.05, at70=0.05)
    assert positions(values) == [40, 70]


def test_a_level_that_comes_again_and_again_is_a_state_and_no_step():
    values = series(120, 0.003, at40=-0.05, at60=0.05, at70=-0.05, at95=0.05)
    assert positions(values) == []


def test_a_step_beside_states_is_found():
    states = {f"at{night}": 0.04 * (-1) ** turn for turn, night in enumerate(range(20, 100, 9))}
    values = series(200, 0.003, **states)
    values[150:] *= 0.8
    assert positions(values) == [150]


def test_the_three_newest_nights_are_blamed_and_not_the_good_one_before():
    values = series(100, 0.003)
    values[97:] *= 0.7
    assert positions(values) == [97]


def test_wandering_noise_is_no_slow_change():
    logs = np.zeros(200)
    for seed in range(20):
        shocks = 0.008 * np.random.default_rng(seed).standard_normal(200)
        for night in range(1, 200):
            logs[night] = 0.9 * logs[night - 1] + shocks[night]
        assert changes(np.exp(logs)).slow == ()

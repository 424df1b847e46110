import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.judge.suspects import RECENT, WINDOW, Settled, Suspect, suspects, unsettled


def nights(size=100, step_at=None, shift=0.05, seed=1):
    logs = 0.005 * np.random.default_rng(seed).standard_normal(size)
    if step_at is not None:
        logs[step_at:] += shift
    return 100 * np.exp(logs)


def test_a_fresh_step_is_suspected_within_a_few_nights():
    (suspect,) = suspects(nights(step_at=96))
    assert abs(suspect.position - 96) <= 1
    assert abs(suspect.effect - 0.05) < 0.02


def test_an_old_step_is_no_suspect():
    assert suspects(nights(step_at=100 - RECENT - 5)) == []


def test_small_steps_and_constant_series_are_no_suspects():
    assert suspects(nights(step_at=90, shift=0.01)) == []
    assert suspects([7.0] * 50) == []
    assert suspects([7.0, 9.0]) == []


def test_positions_count_from_the_start_of_a_long_series():
    (suspect,) = suspects(nights(3 * WINDOW, step_at=3 * WINDOW - 10))
    assert abs(suspect.position - (3 * WINDOW - 10)) <= 1


def test_a_change_that_was_settled_is_not_asked_again():
    asked = [Suspect(50, -0.05)]
    assert unsettled(asked, [Settled(48, 60, changed=True)], 500) == []
    assert unsettled(asked, [Settled(30, 60, changed=True)], 61) == asked


def test_a_denied_suspect_is_asked_again_after_some_nights():
    asked, denied = [Suspect(50, -0.05)], [Settled(50, 60, changed=False)]
    assert unsettled(asked, denied, 61) == []
    assert unsettled(asked, denied, 75) == asked


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 300), st.integers(0, 1000))
def test_suspects_are_recent_and_ordered(size, seed):
    found = [s.position for s in suspects(nights(size, step_at=size // 2, seed=seed))]
    assert found == sorted(found)
    assert all(size - RECENT <= position < size for position in found)

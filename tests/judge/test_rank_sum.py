import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from farm.judge.rank_sum import EXACT, dominance, p_two_sided


@settings(max_examples=60, deadline=None)
@given(st.integers(1, EXACT), st.integers(EXACT, 60), st.integers(0, 10_000), st.floats(-2, 2))
def test_the_p_value_of_few_values_is_exact(few, many, seed, shift):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(few), shift + rng.standard_normal(many)
    exact = mannwhitneyu(a, b, method="exact").pvalue
    assert p_two_sided(a, b) == pytest.approx(exact, rel=1e-9)
    assert p_two_sided(b, a) == pytest.approx(exact, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(EXACT + 1, 60), st.integers(EXACT + 1, 60), st.integers(0, 10_000))
def test_the_p_value_of_many_values_is_the_usual_approximation(few, many, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(few), 0.5 + rng.standard_normal(many)
    usual = mannwhitneyu(a, b, method="asymptotic").pvalue
    assert p_two_sided(a, b) == pytest.approx(usual, rel=1e-6)


def test_dominance_is_half_for_equal_samples_and_one_for_separate_ones():
    assert dominance(np.ones(5), np.ones(7)) == 0.5
    assert dominance(np.arange(5.0), np.arange(10.0, 15.0)) == 1.0
    assert dominance(np.arange(10.0, 15.0), np.arange(5.0)) == 1.0

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wilcoxon

from farm.judge import signed_rank
from farm.judge.verdict import LOOKS, Verdict, confirm, joint, judge, judge_exact, judge_family

log_ratios = arrays(
    float,
    st.integers(10, 70),
    elements=st.floats(-0.3, 0.3).map(lambda x: round(x, 4)),
)


def noisy(shift: float, pairs: int = 60, spread: float = 0.01, seed: int = 1) -> np.ndarray:
    return shift + spread * np.random.default_rng(seed).standard_normal(pairs)


def test_no_change_passes_at_the_first_look():
    verdict = judge(noisy(0.0), "higher")
    assert (verdict.outcome, verdict.pairs) == ("pass", 10)
    assert verdict.low < 0 < verdict.high


def test_a_loss_over_the_tolerance_regresses_and_a_gain_improves():
    assert judge(noisy(-0.04), "higher").outcome == "regress"
    assert judge(noisy(0.04), "higher").outcome == "improve"
    assert judge(noisy(0.04), "lower").outcome == "regress"


def test_noise_that_hides_the_tolerance_is_inconclusive():
    assert judge(noisy(0.0, 20, 0.2), "higher").outcome == "inconclusive"


def test_fewer_pairs_than_the_first_look_are_invalid():
    verdict = judge(noisy(-0.5, 9), "higher")
    assert verdict.outcome == "invalid"
    assert math.isnan(verdict.effect)


def test_an_apparent_gain_is_followed_until_it_is_proven():
    changes = np.concatenate([noisy(0.03, 10, 0.03, seed=4), noisy(0.03, 50, 0.005)])
    verdict = judge(changes, "higher")
    assert verdict.outcome == "improve"
    assert verdict.pairs > 10


@settings(max_examples=60, deadline=None)
@given(log_ratios)
def test_exchanging_the_direction_mirrors_the_verdict(changes):
    one, other = judge(changes, "higher"), judge(-changes, "lower")
    assert (one.outcome, one.pairs, one.p) == (other.outcome, other.pairs, other.p)
    assert math.log1p(one.effect) == pytest.approx(-math.log1p(other.effect), abs=1e-12)
    assert math.log1p(one.low) == pytest.approx(-math.log1p(other.high), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(log_ratios, st.floats(0.0, 0.2))
def test_a_larger_loss_never_turns_a_regress_into_a_pass(changes, loss):
    before, after = judge(changes, "higher"), judge(changes - loss, "higher")
    if before.outcome == "regress":
        assert after.outcome == "regress"
        assert after.effect <= before.effect or after.pairs < before.pairs


@settings(max_examples=60, deadline=None)
@given(log_ratios, st.randoms(use_true_random=False))
def test_the_order_of_pairs_within_a_look_does_not_matter(changes, random):
    head = list(changes[: LOOKS[0].pairs])
    random.shuffle(head)
    assert judge(np.array(head), "higher") == judge(changes[: LOOKS[0].pairs], "higher")


@settings(max_examples=60, deadline=None)
@given(log_ratios)
def test_bounds_enclose_the_effect(changes):
    verdict = judge(changes, "higher")
    assert verdict.low <= verdict.effect <= verdict.high
    assert 0 <= verdict.p <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 20), st.integers(0, 2**32 - 1))
def test_the_p_value_is_scipys_exact_one(pairs, seed):
    x = np.random.default_rng(seed).standard_normal(pairs) + 0.3
    walsh = signed_rank.walsh_averages(x)
    two, one = wilcoxon(x, method="exact"), wilcoxon(x, method="exact", alternative="greater")
    assert signed_rank.p_two_sided(walsh) == pytest.approx(two.pvalue)
    assert signed_rank.p_greater(walsh) == pytest.approx(one.pvalue)


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 30), st.integers(0, 2**32 - 1), st.floats(0.002, 0.2))
def test_the_lower_bound_is_above_zero_exactly_where_the_test_rejects(pairs, seed, level):
    x = np.random.default_rng(seed).standard_normal(pairs) + 0.5
    walsh = signed_rank.walsh_averages(x)
    rejects = signed_rank.p_greater(walsh) <= level
    assert (signed_rank.lower_bound(walsh, level) > 0) == rejects


def test_bytes_are_judged_exactly():
    assert judge_exact(1000, 1000, "lower", 0.0).outcome == "pass"
    assert judge_exact(1000, 1001, "lower", 0.0).outcome == "regress"
    assert judge_exact(1000, 999, "lower", 0.0).outcome == "improve"
    assert judge_exact(1000, 1010, "lower", 0.02).outcome == "pass"


def test_a_regress_needs_its_re_run():
    regress, passed = Verdict("regress", -0.04, pairs=10), Verdict("pass", 0.0, pairs=15)
    assert confirm(regress, regress).outcome == "regress"
    assert confirm(regress, passed) == Verdict("pass", 0.0, pairs=25)
    assert confirm(regress, Verdict("inconclusive")).outcome == "inconclusive"
    assert confirm(regress, Verdict("invalid")).outcome == "inconclusive"
    assert confirm(passed, regress) == passed


def test_a_family_believes_a_regress_only_when_the_following_pairs_confirm_it():
    early = np.concatenate([noisy(-0.05, 10), noisy(0.0, 50, seed=2)])
    verdicts = judge_family({"early": early, "lasting": noisy(-0.05)}, "higher")
    assert judge(early, "higher").outcome == "regress"
    assert verdicts["early"].outcome == "pass"
    assert verdicts["lasting"].outcome == "regress"
    assert verdicts["lasting"].pairs == 20


def test_a_family_without_pairs_to_confirm_needs_overwhelming_evidence():
    cases = {str(i): noisy(0.0, 19, seed=i) for i in range(9)}
    assert judge_family({**cases, "bad": noisy(-0.2, 19)}, "higher")["bad"].outcome == "regress"
    assert judge_family({**cases, "few": noisy(-0.2, 12)}, "higher")["few"].outcome == (
        "inconclusive"
    )


def test_faster_but_worse_is_a_regression():
    assert joint(["improve", "regress", "pass"]) == "regress"
    assert joint(["improve", "inconclusive"]) == "inconclusive"
    assert joint(["pass", "improve"]) == "improve"
    assert joint(["pass"]) == "pass"
    assert joint([]) == "invalid"


def test_a_divergence_that_rounding_made_negative_is_no_better_for_rising():
    assert judge_exact(-1e-9, 0.5, "lower", 0.1).outcome == "regress"
    assert judge_exact(0.0, 0.5, "lower", 0.1).outcome == "regress"
    assert judge_exact(1.0, 0.0, "higher", 0.0).outcome == "regress"

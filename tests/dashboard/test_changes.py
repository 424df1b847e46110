import math
from dataclasses import dataclass

import pytest

from dashboard.analysis.changes import by_significance, judge


@dataclass(frozen=True)
class Change:
    base: float
    head: float
    noise: float | None = 0.005
    metric: str = "generation_tps"
    base_key: str = "k"
    head_key: str = "k"


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (Change(100, 90), "worse"),
        (Change(100, 110), "better"),
        (Change(0.01, 0.011, metric="tpot"), "worse"),
        (Change(100, 99), "same"),
        (Change(100, 95, noise=0.02), "same"),
        (Change(100, 95, noise=None), "noise unknown"),
        (Change(100, 100, noise=None), "same"),
        (Change(100, 90, head_key="other"), "not comparable"),
        (Change(0.0, 0.5, noise=0.0, metric="kl_divergence"), "worse"),
        (Change(0.0, 0.0, noise=0.0, metric="kl_divergence"), "same"),
        (Change(1, 2, metric="never_heard_of"), "changed"),
    ],
)
def test_a_change_counts_if_it_exceeds_noise_and_tolerance(change, answer):
    assert judge(change).answer == answer


def test_significance_is_the_change_over_the_noise_of_two_points():
    assert judge(Change(100, 90)).significance == pytest.approx(0.1 / (0.005 * math.sqrt(2)))


def test_what_never_varied_and_did_is_infinitely_significant():
    assert judge(Change(4.0, 5.0, noise=0.0)).significance == math.inf


def test_the_most_significant_change_comes_first_and_unknown_noise_last():
    found = [Change(100, 50, noise=None), Change(100, 98), Change(100, 90), Change(1, 2, noise=0)]
    ordered = by_significance([(change, judge(change)) for change in found])
    assert [change.base - change.head for change, _ in ordered] == [-1, 10, 2, 50]

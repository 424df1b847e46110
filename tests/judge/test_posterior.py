import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.judge.posterior import PAIRS, Posterior, bisect

COMMITS = [f"c{i}" for i in range(1, 25)]


class Truth:
    """Probes of a history with one slow commit; some commits do not build."""

    def __init__(self, culprit, shift=-0.05, noise=0.02, broken=(), seed=1):
        self.culprit, self.shift, self.noise, self.broken = culprit, shift, noise, broken
        self.rng = np.random.default_rng(seed)
        self.asked = []

    def __call__(self, commits):
        self.asked.append(list(commits))
        return {commit: self._pairs(commit) for commit in commits}

    def _pairs(self, commit):
        if commit in self.broken:
            return None
        slow = COMMITS.index(commit) >= COMMITS.index(self.culprit)
        return self.shift * slow + self.noise * self.rng.standard_normal(PAIRS)


def posterior(shift=-0.05):
    return Posterior(COMMITS, shift, 0.003)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(COMMITS), st.integers(0, 2**32 - 1))
def test_the_culprit_is_named_with_confidence_in_few_probes(culprit, seed):
    found = bisect(posterior(), Truth(culprit, noise=0.015, seed=seed))
    assert found.confidence >= 0.95
    assert found.probes <= 12
    assert found.suspects == (found.culprit,)


def test_the_culprit_named_is_wrong_at_most_as_often_as_it_says():
    wrong = probes = 0
    for trial in range(200):
        culprit = COMMITS[trial % len(COMMITS)]
        found = bisect(posterior(-0.03), Truth(culprit, -0.03, noise=0.02, seed=trial))
        wrong += found.culprit != culprit
        probes += found.probes
    assert wrong <= 10
    assert probes / 200 <= 8


def test_commits_that_do_not_build_are_skipped():
    broken = set(COMMITS[4:12])
    found = bisect(posterior(), Truth("c15", broken=broken))
    assert (found.culprit, found.confidence >= 0.95) == ("c15", True)


def test_commits_that_can_not_be_told_apart_are_all_named():
    found = bisect(posterior(), Truth("c10", broken={"c9", "c10", "c11"}))
    assert found.confidence < 0.95
    assert found.suspects == ("c9", "c10", "c11", "c12")
    assert set(found.skipped) <= {"c9", "c10", "c11"}


def test_a_commit_with_the_same_bytes_is_never_the_culprit():
    start = posterior()
    start.exclude(["c10", "c11"])
    found = bisect(start, Truth("c12", seed=3))
    assert found.culprit == "c12"
    assert start.probabilities[9] == start.probabilities[10] == 0


def test_stored_values_save_probes():
    rng = np.random.default_rng(1)
    stored = {c: [(-0.05 if i >= 16 else 0) + 0.01 * rng.standard_normal()]
              for i, c in enumerate(COMMITS)}  # fmt: skip
    informed = posterior()
    informed.believe(stored, [0.0, 0.005])
    assert informed.commits[int(np.argmax(informed.probabilities))] == "c17"
    few = bisect(informed, Truth("c17"))
    many = bisect(posterior(), Truth("c17"))
    assert few.culprit == many.culprit == "c17"
    assert few.probes < many.probes


def test_too_few_stored_values_change_nothing():
    start = posterior()
    start.believe({"c1": [5.0]}, [0.0])
    assert start.probabilities == pytest.approx(np.full(24, 1 / 24))


def test_several_hosts_probe_different_commits_at_once():
    truth = Truth("c9")
    found = bisect(posterior(), truth, hosts=3)
    assert found.culprit == "c9"
    assert truth.asked[0] == ["c6", "c12", "c18"]
    assert len(truth.asked) < bisect(posterior(), Truth("c9")).probes


def test_probing_ends_when_nothing_is_sure():
    found = bisect(posterior(-0.001), Truth("c9", 0.0, noise=0.5), most=5)
    assert found.probes == 5
    assert found.confidence < 0.95
    assert len(found.suspects) > 1


@pytest.mark.parametrize(("shift", "error"), [(np.nan, 0.1), (np.inf, 0.1), (-0.05, np.nan)])
def test_nothing_that_is_not_finite_enters_a_posterior(shift, error):
    with pytest.raises(ValueError, match="shift"):
        Posterior(COMMITS, shift, error)
    with pytest.raises(ValueError, match="not finite"):
        posterior().observe("c3", np.array([0.0, np.nan]))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(COMMITS))
def test_exact_probes_find_the_culprit_like_any_bisection(culprit):
    def probe(commits):
        return {one: COMMITS.index(one) >= COMMITS.index(culprit) for one in commits}

    found = bisect(Posterior(COMMITS, 0.0, 0.0), probe)
    assert (found.culprit, found.confidence) == (culprit, 1.0)
    assert found.probes <= 5


def test_an_exact_probe_outweighs_what_other_nights_made_believe():
    one = posterior()
    one.exclude(COMMITS[:12])
    one.know("c6", changed=True)
    assert one.best[0] in COMMITS[:6]

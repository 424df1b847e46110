import pytest

from db.engine import open_database
from fake_measure import CELL, QUALITY, FakeFarm, build
from farm.campaign.bisect import Search
from farm.campaign.campaign import Campaign
from farm.plan.commits import Commit
from worker.record import Sample


@pytest.fixture
def look(tmp_path):
    """Return a maker of searches over 24 commits of a fake farm."""
    engine = open_database(str(tmp_path / "farm.db"))

    def make(farm, hosts=("mini",), builds=range(1, 25), series=(CELL, "generation_tps")):
        def dispatch(jobs):
            for job in jobs:
                record = farm(job.build, job.cell, job.repetition, job.host)
                yield record.model_copy(update={"job": job})

        campaign = Campaign(engine, dispatch, "bisect-1", "gate", 60.0, tmp_path / "spool")
        commits = [Commit(f"c{i:02}", build(f"b{b:02}")) for i, b in enumerate(builds, start=1)]
        good = Commit("c00", build("b00"))
        return Search(good, commits, *series, hosts, campaign, lambda _: None)

    return make


def slow_from(first, share=0.05, **options):
    speed = {f"b{i:02}": 1 - share if i >= first else 1.0 for i in range(60)}
    return FakeFarm(speed=speed, **options)


@pytest.mark.slow
@pytest.mark.parametrize("culprit", [1, 9, 24])
def test_the_culprit_of_a_history_is_named_in_at_most_seven_probes(look, culprit):
    search = look(slow_from(culprit))
    found = search.find(search.whole(), most=20)
    assert found.culprit == f"c{culprit:02}"
    assert found.confidence >= 0.95
    assert found.probes <= 7


@pytest.mark.slow
def test_what_was_measured_before_is_used(look):
    first = look(slow_from(9))
    once = first.find(first.whole(), most=20)
    again = look(slow_from(9, seed=2))
    twice = again.find(again.whole(), most=20)
    assert twice.culprit == once.culprit == "c09"
    assert twice.probes <= once.probes


def test_no_change_is_said_before_anything_is_searched(look):
    farm = FakeFarm()
    assert look(farm).whole().verdict.outcome == "pass"


def test_commits_that_fail_are_skipped_and_told(look):
    farm = slow_from(15, broken=frozenset({"b06", "b07", "b08"}))
    search = look(farm)
    found = search.find(search.whole(), most=20)
    assert found.culprit == "c15"
    assert set(found.skipped) <= {"c06", "c07", "c08"}


def test_a_commit_with_the_bytes_of_the_one_before_is_no_culprit(look):
    search = look(slow_from(9), builds=[*range(1, 9), *([9] * 8), *range(10, 18)])
    found = search.find(search.whole(), most=20)
    assert found.culprit == "c09"


@pytest.mark.slow
def test_hosts_share_the_probes(look):
    farm = slow_from(9)
    search = look(farm, hosts=("mini", "laptop"))
    assert search.find(search.whole(), most=20).culprit == "c09"


@pytest.mark.parametrize(("before", "after"), [(0.01, 0.03), (0.0, 0.02)])
def test_the_culprit_of_a_quality_is_named_also_where_there_was_no_loss_before(look, before, after):
    farm = FakeFarm(kl={f"b{i:02}": after if i >= 9 else before for i in range(60)})
    for _ in range(2):  # the second time with stored values
        search = look(farm, series=(QUALITY, "kl_divergence"))
        found = search.find(search.whole(), most=20)
        assert found.culprit == "c09"
        assert found.confidence >= 0.95


def test_the_culprit_of_a_figure_that_fell_to_nothing_is_named(look):
    class Forgetful(FakeFarm):
        def _quality(self, job):
            yield Sample(metric="needle_accuracy", value=float(job.build.hash < "b09"))

    search = look(Forgetful(), series=(QUALITY, "needle_accuracy"))
    assert search.find(search.whole(), most=20).culprit == "c09"


def test_a_wrong_result_is_searched_for_by_correctness_alone(look):
    farm = FakeFarm(wrong=frozenset(f"b{i:02}" for i in range(9, 60)))
    search = look(farm)
    found = search.find(search.whole(), most=20)
    assert (found.culprit, found.confidence, found.suspects) == ("c09", 1.0, ("c09",))
    assert found.probes <= 5
    assert len(farm.jobs) <= 4 * (found.probes + 1)  # at most two runs of each side


def test_a_commit_that_cannot_be_measured_does_not_hide_a_wrong_result(look):
    wrong = frozenset(f"b{i:02}" for i in range(15, 60))
    search = look(FakeFarm(wrong=wrong, broken=frozenset({"b12"})))
    found = search.find(search.whole(), most=20)
    assert found.culprit == "c15"
    assert set(found.skipped) <= {"c12"}


def test_an_exact_figure_needs_two_runs_a_probe(look):
    farm = FakeFarm(kl={f"b{i:02}": 0.02 if i >= 9 else 0.01 for i in range(60)})
    search = look(farm, series=(QUALITY, "kl_divergence"))
    whole = search.whole()
    measured = len(farm.jobs)
    found = search.find(whole, most=20)
    assert (found.culprit, found.confidence) == ("c09", 1.0)
    assert len(farm.jobs) - measured == 2 * 2 * found.probes


def test_a_busy_machine_does_not_hinder_a_search_by_an_exact_figure(look):
    farm = FakeFarm(kl={f"b{i:02}": 0.02 if i >= 9 else 0.01 for i in range(60)}, unfit=1.0)
    search = look(farm, series=(QUALITY, "kl_divergence"))
    assert search.find(search.whole(), most=20).culprit == "c09"

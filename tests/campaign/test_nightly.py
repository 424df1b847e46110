from dataclasses import replace

import pytest

from db import store
from db.engine import open_database
from db.verdicts import SeriesKey
from fake_measure import CELL, QUALITY, FakeFarm, build
from farm.campaign import night as nightly
from farm.campaign.campaign import Campaign
from farm.campaign.history import Night
from farm.campaign.lines import Line
from farm.campaign.regressions import grouped
from farm.campaign.shifts import Shift
from farm.plan.commits import Commit
from farm.report import night as night_report

HOURS = 3600.0


@pytest.fixture
def begin(tmp_path):
    """Return a maker of nights over a fake farm, all with one database."""
    engine = open_database(str(tmp_path / "farm.db"))

    def make(farm, commits, run, cells=(CELL,), hosts=("mini",)):
        def dispatch(jobs):
            for job in jobs:
                record = farm(job.build, job.cell, job.repetition, job.host)
                yield record.model_copy(update={"job": job, "started": farm.clock()})

        campaign = Campaign(engine, dispatch, run, "gate", 60.0, tmp_path / "spool")
        history = [Commit(f"c{i:02}", build(f"b{i:02}")) for i in range(commits)]
        return Night(history, cells, hosts, "main", campaign)

    return make


class History(FakeFarm):
    """A fake farm whose builds b00, b01, ... slow down at the given numbers."""

    def __init__(self, *steps, **options):
        super().__init__(**options)
        for i in range(60):
            loss = 1.0
            for at, share in steps:
                loss *= 1 - share if i >= at else 1
            self.speed[f"b{i:02}"] = loss

    def clock(self):
        return 1e9 + len(self.jobs)


def spend(night, repetitions=2, silence=1e12):
    return nightly.run(night, night, repetitions, silence)


@pytest.mark.slow
def test_both_slow_commits_of_a_history_are_found_and_nothing_else(begin):
    report = spend(begin(History((8, 0.05), (17, 0.15)), 24, "night-1"))
    first, second = sorted(report.fresh, key=lambda row: row.good)
    assert first.good < "c08" <= first.bad
    assert second.good < "c17" <= second.bad
    assert first.effect == pytest.approx(-0.05, abs=0.02)
    assert second.effect == pytest.approx(-0.15, abs=0.02)
    assert len(report.records) == 48


def test_an_unchanged_history_is_silent(begin):
    assert spend(begin(History(noise=0.02), 30, "night-1")).fresh == []


def test_a_second_run_measures_nothing_and_reports_nothing_new(begin):
    farm = History((10, 0.08))
    assert len(spend(begin(farm, 20, "night-1")).fresh) == 1
    jobs = len(farm.jobs)
    again = spend(begin(farm, 20, "night-2"))
    assert (again.fresh, len(farm.jobs)) == ([], jobs)
    assert [row.state for row in again.known] == ["open"]


def test_days_off_are_caught_up(begin):
    farm = History((14, 0.08))
    assert spend(begin(farm, 10, "night-1")).fresh == []
    report = spend(begin(farm, 20, "night-2"))
    assert len(report.records) == 20
    assert len(report.fresh) == 1


def test_hosts_and_series_that_shift_together_are_one_regression(begin):
    class Two(History):
        def __call__(self, *job):
            record = super().__call__(*job)
            slower = tuple(s.model_copy(update={"metric": "prompt_tps"}) for s in record.samples)
            return record.model_copy(update={"samples": record.samples + slower})

    report = spend(begin(Two((10, 0.1)), 20, "night-1"))
    (row,) = report.fresh
    assert {one["metric"] for one in row.series} == {"generation_tps", "prompt_tps"}


def test_a_worse_quality_is_named_to_the_commit(begin):
    farm = History(kl={f"b{i:02}": 0.01 if i < 12 else 0.02 for i in range(60)})
    (row,) = spend(begin(farm, 20, "night-1", cells=(QUALITY,))).fresh
    assert (row.good, row.bad) == ("c11", "c12")


def test_a_quality_that_loses_its_perfection_is_reported_once_and_does_not_stop_later_nights(begin):
    farm = History(kl={f"b{i:02}": 0.0 if i < 12 else 0.02 for i in range(60)})
    (row,) = spend(begin(farm, 16, "night-1", cells=(QUALITY,))).fresh
    assert (row.good, row.bad) == ("c11", "c12")
    report = spend(begin(farm, 20, "night-2", cells=(QUALITY,)))
    assert (report.fresh, report.withdrawn) == ([], [])
    assert [known.id for known in report.known] == [row.id]


def test_a_perfect_quality_that_is_back_withdraws_its_regression(begin):
    farm = History(kl={f"b{i:02}": 0.02 if 8 <= i < 12 else 0.0 for i in range(60)})
    assert len(spend(begin(farm, 11, "night-1", cells=(QUALITY,))).fresh) == 1
    report = spend(begin(farm, 20, "night-2", cells=(QUALITY,)))
    assert (report.fresh, len(report.withdrawn)) == ([], 1)


def test_an_improvement_is_no_regression(begin):
    assert spend(begin(History((10, -0.1)), 20, "night-1")).fresh == []


def test_a_shift_of_the_environment_is_no_regression(begin):
    class Updated(History):
        def __call__(self, *job):
            record = super().__call__(*job)
            after = record.job.build.hash >= "b10"
            facts = record.environment.facts | {"macos": "27.1" if after else "27.0"}
            environment = record.environment.model_copy(
                update={"facts": facts, "comparable": ("macos",)}
            )
            return record.model_copy(update={"environment": environment})

    assert spend(begin(Updated((10, 0.1)), 20, "night-1")).fresh == []


def test_a_drift_of_the_host_is_denied_by_the_gate(begin):
    class Hotter(History):
        """Slower for everything measured late, as in a warm room."""

        def _speed(self, build, rng):
            late = 0.9 if len(self.jobs) > 30 else 1.0
            for sample in super()._speed(build, rng):
                yield sample.model_copy(update={"value": sample.value * late})

    farm = Hotter()
    spend(begin(farm, 15, "night-1"))
    report = spend(begin(farm, 24, "night-2"))
    assert report.fresh == []


def test_a_regression_is_withdrawn_when_the_level_is_back(begin):
    farm = History((10, 0.1), (16, -1 / 9))
    assert len(spend(begin(farm, 16, "night-1")).fresh) == 1
    report = spend(begin(farm, 30, "night-2"))
    assert [row.state for row in report.withdrawn] == ["withdrawn"]
    assert report.fresh == report.known == []


def test_an_acknowledged_regression_comes_back_when_it_expires(begin):
    night = begin(History((10, 0.1)), 20, "night-1")
    (row,) = spend(night).fresh
    accepted = replace(row, state="acknowledged", author="me", reason="needed", expires=1.0)
    store.record_regression(night.campaign.engine, accepted)
    (back,) = spend(replace(night)).fresh
    assert (back.id, back.state) == (row.id, "open")


def test_a_commit_that_does_not_work_is_reported_and_tried_three_times(begin):
    farm = History(broken=frozenset({"b05"}))
    report = spend(begin(farm, 8, "night-1"), repetitions=1)
    assert any("no such kernel" in failure for failure in report.failures)
    for night in range(2, 6):
        spend(begin(farm, 8, f"night-{night}"), repetitions=1)
    assert sum(job.build.hash == "b05" for job in farm.jobs) == 3


def test_what_was_disturbed_is_measured_again(begin):
    farm = History(unfit=1.0)
    spend(begin(farm, 3, "night-1"), repetitions=1)
    farm.unfit = 0.0
    report = spend(begin(farm, 3, "night-2"), repetitions=1)
    assert [record.invalid for record in report.records] == [()] * 3
    assert len(farm.jobs) == 6


def test_hosts_measure_side_by_side(begin):
    report = spend(begin(History(), 3, "night-1", hosts=("mini", "laptop")), repetitions=1)
    assert sorted(record.job.host for record in report.records) == ["laptop"] * 3 + ["mini"] * 3


def test_where_the_old_build_no_longer_works_the_line_alone_must_be_sure(begin):
    farm = History((12, 0.1))
    spend(begin(farm, 11, "night-1"))
    farm.broken = frozenset(f"b{i:02}" for i in range(10))
    report = spend(begin(farm, 24, "night-2"))
    assert len(report.fresh) == 1


def test_a_silent_farm_is_an_alarm_and_a_quiet_branch_is_measured_again(begin):
    farm = History()
    spend(begin(farm, 3, "night-1"))
    jobs = len(farm.jobs)
    report = nightly.run(begin(farm, 3, "night-2"), begin(farm, 3, "night-2"), 1, 36 * HOURS)
    assert len(farm.jobs) > jobs
    assert report.silent
    assert "The farm is silent" in night_report.markdown(report, 1e9 + 2e5)


@pytest.mark.slow
def test_the_report_says_how_to_go_on(begin):
    report = spend(begin(History((10, 0.1)), 20, "night-1"))
    text = night_report.markdown(report, 1e9)
    assert text.startswith("## Nightly of main at c19: 1 new regression")
    assert f"farm bisect {report.fresh[0].good} {report.fresh[0].bad} --cell {CELL.id}" in text
    assert night_report.document(report)["new"][0]["state"] == "open"


def test_shifts_of_one_series_are_never_grouped():
    series = SeriesKey("a", "a fake", "generation_tps")
    line = Line(series, "mini", (), ())
    other = Line(replace(series, cell="b"), "mini", (), ())
    near = [
        Shift(line, 10, 5, 15, -0.1),
        Shift(line, 12, 7, 17, -0.1),
        Shift(other, 11, 6, 16, -0.1),
    ]
    assert [len(group) for group in grouped(near)] == [2, 1]


def test_a_night_without_a_figure_that_counts_says_so(begin):
    report = spend(begin(History(unfit=1.0), 3, "night-1"), repetitions=1)
    assert report.fruitless
    text = night_report.markdown(report, 1e9)
    assert "**No figure of this night counts**: busy in 3 of 3 jobs." in text
    assert night_report.document(report)["fruitless"]
    assert not spend(begin(History(), 4, "night-2"), repetitions=1).fruitless


def test_a_night_of_bytes_and_quality_bears_fruit_on_a_busy_machine(begin):
    night = begin(History(unfit=1.0), 3, "night-1", cells=(QUALITY,))
    assert not spend(night, repetitions=1).fruitless


def test_a_commit_that_computes_wrongly_after_one_that_does_not_is_a_regression(begin):
    farm = History(wrong=frozenset({"b05", "b06", "b07"}))
    report = spend(begin(farm, 8, "night-1"), repetitions=1)
    (row,) = report.fresh
    assert (row.good, row.bad) == ("c04", "c05")
    assert (
        "golden_vectors of decode@512 turbo on a fake: the newer commit fails them"
        in night_report.markdown(report, 1e9)
    )
    again = spend(begin(farm, 8, "night-2"), repetitions=1)
    assert (again.fresh, [known.id for known in again.known]) == ([], [row.id])


def test_a_wrong_result_that_is_mended_withdraws_its_regression(begin):
    farm = History(wrong=frozenset({"b05"}))
    assert len(spend(begin(farm, 6, "night-1"), repetitions=1).fresh) == 1
    report = spend(begin(farm, 8, "night-2"), repetitions=1)
    assert (report.fresh, len(report.withdrawn)) == ([], 1)


def test_a_build_that_was_never_right_is_a_failure_and_no_regression(begin):
    report = spend(begin(History(wrong=frozenset({"b00"})), 3, "night-1"), repetitions=1)
    assert report.fresh == []
    assert len(report.failures) == 1


@pytest.mark.slow
def test_a_slow_loss_is_one_regression_told_as_what_it_is(begin):
    farm = History(*((i, 0.0015) for i in range(1, 60)), noise=0.003)
    report = spend(begin(farm, 40, "night-1"), repetitions=1)
    (row,) = report.fresh
    assert (row.good, row.bad) == ("c00", "c39")
    assert row.effect == pytest.approx(-0.057, abs=0.02)
    assert "slowly: no single step" in night_report.markdown(report, 1e9)
    assert spend(begin(farm, 42, "night-2"), repetitions=1).fresh == []

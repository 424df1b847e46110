"""Figures of one build, a run under way, and what a change of the database changes."""

from dataclasses import replace

import jobs
from db import queries, store
from db.engine import open_database
from db.verdicts import RegressionRow, VerdictRow
from example_records import M2_PRO, M5_MAX, build, cells, record


def opened(tmp_path):
    return open_database(str(tmp_path / "farm.db"))


def stored(engine, *records):
    for one in records:
        store.record_run(engine, one.job.run, "smoke", one.started, [one.job])
        store.record_result(engine, one)


DECODE = next(cell for cell in cells() if cell.benchmark == "decode")


def test_figures_of_a_build_are_of_no_other_and_each_run_keeps_its_own(tmp_path):
    engine = opened(tmp_path)
    runs = [record(M5_MAX, DECODE, 1, run=run) for run in ("first", "second")]
    stored(engine, record(M5_MAX, DECODE, 0), *runs)
    found = queries.figures(engine, build(1).hash)
    assert {one.build for one in found} == {build(1).hash}
    assert sorted({one.run for one in found}) == ["first", "second"]
    assert {one.parameters for one in found} == {("trials=5",)}
    assert queries.figures(engine, "none") == ()


def test_a_figure_that_does_not_count_is_in_no_build(tmp_path):
    engine = opened(tmp_path)
    busy = record(M5_MAX, DECODE, 0).model_copy(update={"invalid": jobs.BUSY})
    stored(engine, busy)
    assert queries.figures(engine, build(0).hash) == ()
    assert queries.build_summary(engine, build(0).hash) is None


def test_a_build_says_how_much_was_measured_of_some_metrics(tmp_path):
    engine = opened(tmp_path)
    stored(engine, record(M5_MAX, DECODE, 0), record(M2_PRO, DECODE, 0))
    found = queries.build_summary(engine, build(0).hash, ("generation_tps",))
    assert (found.series, found.devices) == (2, 2)
    assert queries.build_summary(engine, build(0).hash, ("perplexity",)) is None


def test_suspicions_are_told_by_record(tmp_path):
    engine = opened(tmp_path)
    doubtful = record(M5_MAX, DECODE, 0).model_copy(update={"suspicious": ("cold?",)})
    stored(engine, doubtful, record(M2_PRO, DECODE, 0))
    assert queries.suspicions(engine, build(0).hash) == {1: ("cold?",)}


def test_the_newest_read_of_each_device_is_known_whatever_its_build(tmp_path):
    engine = opened(tmp_path)
    bare = next(cells())
    stored(engine, *(record(M5_MAX, bare, night) for night in (0, 1)), record(M2_PRO, bare, 0))
    found = {one.device: one.build for one in queries.reads(engine)}
    assert found == {M5_MAX.name: build(1).hash, M2_PRO.name: build(0).hash}


def test_a_run_under_way_says_which_jobs_count_and_what_came_last(tmp_path):
    engine = opened(tmp_path)
    done, spoiled, pending = (record(M5_MAX, cell, 0) for cell in list(cells())[1:4])
    run = [one.job for one in (done, spoiled, pending)]
    store.record_run(engine, done.job.run, "smoke", 1.0, run)
    store.record_result(engine, done)
    failed = spoiled.model_copy(update={"status": "failed", "samples": ()})
    store.record_result(engine, failed)
    states = queries.job_states(engine, done.job.run)
    assert [(one.status, one.counts) for one in states] == [
        ("ok", True),
        ("failed", False),
        (None, False),
    ]
    assert [one.record for one in queries.arrivals(engine, done.job.run)] == [1]


def test_hosts_of_others_are_not_ours(tmp_path):
    engine = opened(tmp_path)
    stored(engine, record(M5_MAX, DECODE, 0))
    theirs = record(replace(M2_PRO, host="mini@alice"), DECODE, 1, run="night@alice")
    store.import_records(engine, [theirs], "alice")
    ours = [queries.host_state(engine, one).host for one in queries.last_records(engine)]
    assert ours == ["laptop"]
    assert len(queries.last_records(engine, "alice")) == 1
    assert [run.origin for run in queries.runs(engine)] == ["alice", None]


def test_a_record_changes_the_version_of_its_own_build_alone(tmp_path):
    engine = opened(tmp_path)
    stored(engine, record(M5_MAX, DECODE, 0), record(M5_MAX, DECODE, 1))
    before = queries.versions(engine)
    stored(engine, record(M2_PRO, DECODE, 1))
    after = queries.versions(engine)
    assert after.builds[build(0).hash] == before.builds[build(0).hash]
    assert after.builds[build(1).hash] != before.builds[build(1).hash]
    assert (after.records, after.published) == (before.records + 1, before.published)
    assert after.regressions == before.regressions


def test_an_acknowledgement_changes_the_version_of_regressions(tmp_path):
    engine = opened(tmp_path)
    row = RegressionRow("main", "a", "b", -0.05, ())
    number = store.record_regression(engine, row)
    before = queries.versions(engine).regressions
    store.record_regression(engine, replace(row, id=number, state="acknowledged"))
    assert queries.versions(engine).regressions != before


def test_the_series_of_a_regression_come_with_the_gate_that_judged_them(tmp_path):
    engine = opened(tmp_path)
    stored(engine, record(M5_MAX, DECODE, 0), record(M5_MAX, DECODE, 1))
    row = next(one for one in queries.newest(engine) if one.metric == "generation_tps")
    gate = VerdictRow(
        run="night-001", cell=DECODE, host=row.host, device=row.device,
        comparison_key=row.comparison_key, metric=row.metric, baseline=build(0).hash,
        candidate=build(1).hash, outcome="regress", effect=-0.05, low=-0.06, high=-0.04, pairs=15,
        p=None, deviation=None, replaced=0, injected=None, note="", seed=1,
    )  # fmt: skip
    store.record_verdicts(engine, [gate])
    series = (
        {"cell": row.cell, "metric": row.metric, "device": row.device, "effect": -0.05},
        {"cell": "gone", "metric": "tpot", "device": "x", "effect": 0.01},
    )
    good, bad = (str(build(night).commit) for night in (0, 1))
    number = store.record_regression(engine, RegressionRow("main", good, bad, -0.05, series))
    first, gone = queries.affected(engine, number)
    assert (first.low, first.high, first.pairs, first.run) == (-0.06, -0.04, 15, "night-001")
    assert (first.context, first.series) == (512, row.series)
    assert (gone.benchmark, gone.low) == ("gone", None)
    assert queries.affected(engine, 99) == ()


def test_a_regression_knows_how_fp16_changed_between_the_same_commits_on_the_same_device(tmp_path):
    engine = opened(tmp_path)
    exact = DECODE
    ours = next(
        one for one in cells() if one.comparison == exact.comparison and not one.is_baseline
    )
    for night in (0, 1):
        stored(engine, *(record(M5_MAX, cell, night) for cell in (exact, ours)))
        stored(engine, record(M2_PRO, ours, night))
    device, other = M5_MAX.name, M2_PRO.name
    series = tuple(
        {"cell": ours.id, "metric": "generation_tps", "device": name, "effect": -0.05}
        for name in (device, other)
    )
    good, bad = (str(build(night).commit) for night in (0, 1))
    number = store.record_regression(engine, RegressionRow("main", good, bad, -0.05, series))
    before, after = (
        next(
            one.value
            for one in queries.figures(engine, build(night).hash)
            if (one.cell, one.device, one.metric) == (exact.id, device, "generation_tps")
        )
        for night in (0, 1)
    )
    found = {one.device: one.reference for one in queries.affected(engine, number)}
    assert found == {device: after / before - 1, other: None}


def test_records_of_others_are_counted_apart(tmp_path):
    engine = opened(tmp_path)
    assert queries.counted_records(engine) == queries.RecordCounts(ours=0, imported=0)
    stored(engine, record(M5_MAX, DECODE, 0), record(M5_MAX, DECODE, 1))
    theirs = record(replace(M2_PRO, host="mini@alice"), DECODE, 1, run="night@alice")
    store.import_records(engine, [theirs], "alice")
    assert queries.counted_records(engine) == queries.RecordCounts(ours=2, imported=1)

import pytest

from db import queries, store
from db.engine import open_database
from db.verdicts import RegressionRow, SeriesKey, SuspectRow, VerdictRow
from fake_measure import CELL, FakeFarm, build

SERIES = SeriesKey(CELL.id, "a fake", "generation_tps")


@pytest.fixture
def engine(tmp_path):
    """Hold the records of one build measured twice, and of a run named fake."""
    engine = open_database(str(tmp_path / "farm.db"))
    farm = FakeFarm()
    records = [farm(build(name), CELL, i) for i, name in enumerate(["old", "new", "old"])]
    store.record_run(engine, "fake", "a suite", 0.0, [record.job for record in records])
    for record in records:
        store.record_result(engine, record)
    return engine


def row(**changes):
    figures = {"effect": -0.05, "low": -0.06, "high": None, "p": 0.001, "deviation": 0.01}
    return VerdictRow(
        run="fake",
        cell=CELL,
        host="fake",
        device="a fake",
        comparison_key="k",
        metric="generation_tps",
        baseline="old",
        candidate="new",
        outcome="regress",
        pairs=20,
        replaced=1,
        injected=None,
        note="",
        seed=7,
        judged=1.0,
        **(figures | changes),
    )


def test_a_verdict_comes_back_as_it_was_stored_and_once(engine):
    store.record_verdicts(engine, [row()])
    store.record_verdicts(engine, [row(effect=0.5)])
    assert queries.verdicts(engine, SERIES) == [row()]
    assert queries.verdicts(engine, SeriesKey(CELL.id, "a fake", "prompt_tps")) == []


def test_suspects_come_back_by_series_in_their_order(engine):
    asked = [
        SuspectRow(SERIES, "c3", "c9", changed=False),
        SuspectRow(SERIES, "c3", "c20", changed=True),
    ]
    for suspect in asked:
        store.record_suspect(engine, suspect)
    assert queries.suspects(engine, SERIES) == asked
    assert queries.suspects(engine, SeriesKey(CELL.id, "another", "generation_tps")) == []


def test_a_regression_changes_its_state(engine):
    series = ({"cell": CELL.id, "metric": "generation_tps", "device": "a fake", "effect": -0.05},)
    found = RegressionRow("main", "c1", "c6", -0.05, series, found=1.0)
    number = store.record_regression(engine, found)
    (stored,) = queries.regressions(engine, "main")
    assert (stored.id, stored.state, stored.series) == (number, "open", series)
    acknowledged = RegressionRow(
        "main", "c1", "c6", -0.05, series, "acknowledged", number, 1.0, author="me", reason="needed"
    )
    assert store.record_regression(engine, acknowledged) == number
    assert queries.regressions(engine) == [acknowledged]
    assert queries.regressions(engine, "another") == []


def test_the_values_of_a_build_are_the_medians_of_its_processes(engine):
    values = queries.build_values(engine, ["old"])
    assert [value.series for value in values] == [SERIES, SERIES]
    assert all(90 < value.value < 110 for value in values)
    assert queries.build_values(engine, []) == []
    assert queries.cells(engine) == {CELL.id: CELL}

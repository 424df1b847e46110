import sqlite3
from itertools import pairwise
from statistics import mean, median

import pytest
from sqlalchemy import create_engine, text

import jobs
from db import queries, rollup, store
from db.engine import migrate, open_database
from db.models import Base
from db.queries import last_success
from example_records import DEVICES, build, cells, failed_record, fill, record
from worker.metrics import METRICS
from worker.record import Sample

TABLES = ("point", "series", "conditions", "build")


def rows(engine, table):
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT * FROM {table}")).mappings()  # noqa: S608
        return sorted((dict(row) for row in found), key=str)


def points_by_name(engine):
    """Return the points without the numbers that only the order of storing decides."""
    query = text(
        "SELECT s.cell_id, s.device, s.metric, s.noise, p.* FROM point p "
        "JOIN series s ON s.id = p.series_id"
    )
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    return sorted(({**row, "series_id": None} for row in found), key=str)


@pytest.fixture
def engine(tmp_path):
    return open_database(str(tmp_path / "farm.db"))


@pytest.mark.slow
def test_points_are_what_python_recomputes_from_the_raw_samples(engine):
    fill(engine, nights=2, devices=DEVICES[:2])
    with engine.connect() as connection:
        samples = connection.execute(
            text(
                "SELECT r.id, s.metric, s.value FROM sample s JOIN record r ON r.id = s.record_id"
                " WHERE r.status = 'ok' AND NOT s.warmup"
            )
        ).all()
    expected = {}
    for number, metric, value in samples:
        expected.setdefault((number, metric), []).append(value)
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT p.record_id, s.metric, p.value, p.low, p.high, p.trials FROM point p"
                " JOIN series s ON s.id = p.series_id"
            )
        ).all()
    assert {(number, metric) for number, metric, *_ in found} == expected.keys()
    for number, metric, value, low, high, trials in found:
        figures = expected[number, metric]
        middle = mean(figures) if METRICS[metric].kind == "quality" else median(figures)
        assert (value, low, high, trials) == pytest.approx(
            (middle, min(figures), max(figures), len(figures))
        )


@pytest.mark.slow
def test_rebuilding_gives_the_same_points_series_and_conditions(engine):
    fill(engine, nights=6, devices=DEVICES[:1])
    before = points_by_name(engine), rows(engine, "conditions"), rows(engine, "build")
    with engine.begin() as connection:
        rollup.rebuild(connection)
    assert (points_by_name(engine), rows(engine, "conditions"), rows(engine, "build")) == before


def test_noise_is_the_spread_between_neighbours():
    values = [100, 101, 100, 102, 100, 99, 100]
    steps = [abs(b - a) / max(a, b) for a, b in pairwise(values)]
    assert rollup.noise(values) == pytest.approx(1.4826 / 2**0.5 * median(steps))
    assert rollup.noise([0.0] * 5) == 0
    assert rollup.noise([1.0] * 4) is None


def test_an_invalid_record_is_kept_but_is_not_the_newest(engine):
    cell = next(cell for cell in cells() if cell.benchmark == "decode")
    first, second = (record(DEVICES[0], cell, night) for night in (0, 1))
    second = second.model_copy(update={"invalid": jobs.BUSY})
    for one in (first, second):
        store.record_run(engine, one.job.run, "nightly", one.started, [one.job])
        store.record_result(engine, one)
    newest = queries.newest(engine, ["generation_tps"])
    assert [row.build for row in newest] == [build(0).hash]
    assert [point.valid for point in queries.timeline(engine, [newest[0].series])] == [True, False]


def test_a_late_record_of_an_earlier_night_is_not_the_newest(engine):
    cell = next(cell for cell in cells() if cell.benchmark == "decode")
    for night in (1, 0):
        one = record(DEVICES[0], cell, night)
        store.record_run(engine, one.job.run, "nightly", one.started, [one.job])
        store.record_result(engine, one)
    assert {row.build for row in queries.newest(engine)} == {build(1).hash}


def test_a_failed_record_makes_no_point(engine):
    cell = next(cell for cell in cells() if cell.benchmark == "decode")
    one = failed_record(DEVICES[0], cell, 0)
    store.record_run(engine, one.job.run, "nightly", one.started, [one.job])
    store.record_result(engine, one)
    assert queries.newest(engine) == ()


@pytest.mark.slow
def test_a_database_of_the_first_revision_is_upgraded_with_its_points(tmp_path, engine):
    fill(engine, nights=2, devices=DEVICES[:1])
    old = tmp_path / "old.db"
    upgrade_to(old, "0001")
    copy_shared_columns(tmp_path / "farm.db", old)
    upgraded = open_database(str(old))
    assert points_by_name(upgraded) == points_by_name(engine)
    for table in ("conditions", "build", "record", "sample"):
        assert rows(upgraded, table) == rows(engine, table)


def test_points_of_an_older_database_are_judged_by_what_spoiled_them(tmp_path, engine):
    samples = tuple(Sample(metric=one, value=1.0) for one in ("generation_tps", "kv_bytes"))
    one = jobs.record(invalid=jobs.BUSY).model_copy(update={"samples": samples})
    store.record_run(engine, one.job.run, "nightly", one.started, [one.job])
    store.record_result(engine, one)
    with engine.begin() as connection:
        connection.execute(text("UPDATE point SET valid = 0"))
        connection.execute(text("UPDATE series SET newest = NULL"))
        sentences = '["other processes used 0.80 cores"]'
        connection.execute(text("UPDATE record SET invalid = :old"), {"old": sentences})
        connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
    upgraded = open_database(str(tmp_path / "farm.db"))
    assert [row.metric for row in queries.newest(upgraded)] == ["kv_bytes"]
    (trouble,) = queries.troubles(upgraded)
    assert trouble.reasons == jobs.BUSY


def test_bytes_of_a_busy_machine_are_no_trouble_and_a_success(engine):
    samples = (Sample(metric="kv_bytes", value=1.0),)
    one = jobs.record(invalid=jobs.BUSY).model_copy(update={"samples": samples})
    store.record_run(engine, one.job.run, "nightly", one.started, [one.job])
    assert last_success(engine) is None
    store.record_result(engine, one)
    assert queries.troubles(engine) == ()
    assert last_success(engine) == one.started


def test_a_night_of_speeds_that_do_not_count_is_no_success(engine):
    one = jobs.record(invalid=jobs.BUSY)
    store.record_run(engine, one.job.run, "nightly", one.started, [one.job])
    store.record_result(engine, one)
    assert last_success(engine) is None


def upgrade_to(path, revision):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, revision)
    engine.dispose()


def copy_shared_columns(source, target):
    """Copy what an older database can hold, as if it had been written there."""
    connection = sqlite3.connect(target)
    connection.execute("ATTACH ? AS source", (str(source),))
    tables = {name for (name,) in connection.execute("SELECT name FROM main.sqlite_master")}
    for table in (table.name for table in Base.metadata.sorted_tables if table.name in tables):
        columns = ", ".join(
            f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})")
        )
        connection.execute(
            f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM source.{table}"  # noqa: S608
        )
    connection.commit()
    connection.close()

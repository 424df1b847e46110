"""Many records stored at once: the same tables as one by one."""

import pytest
from sqlalchemy import text

import jobs
from db import queries, store
from db.engine import open_database
from db.leases import Leases
from example_records import M2_PRO, M5_MAX, cells, failed_record, record

TABLES = ("run", "build", "cell", "conditions", "series", "point", "record", "sample", "job")
OF_ORDER = {"wall", "finished", "position", "suite"}  # what an import says of a run


def rows(engine, table):
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT * FROM {table}")).mappings()  # noqa: S608
        kept = [{k: v for k, v in row.items() if k not in OF_ORDER} for row in found]
    return sorted(kept, key=str)


@pytest.fixture
def databases(tmp_path):
    """Return two empty databases."""
    engines = [open_database(str(tmp_path / f"{name}.db")) for name in ("one", "many")]
    yield engines
    for engine in engines:
        engine.dispose()


def some_records():
    """Return records of two devices over some nights: good, failed and spoiled ones."""
    found = [
        record(device, cell, night)
        for night in range(6)
        for device in (M5_MAX, M2_PRO)
        for cell in list(cells())[:6]
    ]
    found[3] = found[3].model_copy(update={"invalid": jobs.BUSY})
    found.append(failed_record(M5_MAX, list(cells())[7], 1))
    return found


def test_records_stored_at_once_fill_the_tables_as_those_stored_one_by_one(databases):
    one_by_one, at_once = databases
    found = some_records()
    for one in found:
        store.record_run(one_by_one, one.job.run, "imported", one.started, [one.job])
        assert store.record_result(one_by_one, one)
    assert store.import_records(at_once, found, None) == len(found)
    for table in TABLES:
        assert rows(at_once, table) == rows(one_by_one, table), table


def test_what_is_known_is_stored_no_second_time_and_what_is_new_is(databases):
    _, engine = databases
    found = some_records()
    assert store.import_records(engine, found[:5], None) == 5
    assert store.import_records(engine, found, None) == len(found) - 5
    before = [rows(engine, table) for table in TABLES]
    assert store.import_records(engine, [*found, *found[:3]], None) == 0
    assert [rows(engine, table) for table in TABLES] == before
    assert rows(engine, "late_record") == []


def test_of_two_records_of_one_job_the_first_counts_and_the_second_is_late(databases):
    _, engine = databases
    first, second = jobs.record(), jobs.record(values=(9.0,), attempt=2)
    assert store.import_records(engine, [first, second, second], None) == 1
    assert queries.records(engine, first.job.run) == [first]
    assert [row["attempt"] for row in rows(engine, "late_record")] == [2]
    third = jobs.record(values=(8.0,), attempt=3)
    assert store.import_records(engine, [third], None) == 0
    assert sorted(row["attempt"] for row in rows(engine, "late_record")) == [2, 3]


def test_nothing_imported_is_nothing_stored(databases):
    _, engine = databases
    assert store.import_records(engine, [], None) == 0
    assert rows(engine, "record") == []


def test_an_imported_record_of_a_job_under_way_ends_its_attempt_and_counts(databases):
    _, engine = databases
    mine, theirs = (jobs.job(host=host) for host in ("a", "b"))
    store.record_run(engine, mine.run, "suite", 1.0, [mine, theirs])
    with Leases(engine) as leases:
        leases.lease(mine.id, "a", "a")
        leases.lease(theirs.id, "b", "b")
        leases.lose(theirs.id, 1, "the link broke")
        leases.lease(theirs.id, "b", "b")
        # The first is the attempt under way; of the other job a lost attempt brought it.
        assert store.import_records(engine, [jobs.record(mine), jobs.record(theirs)], None) == 1
    assert queries.records(engine, mine.run) == [jobs.record(mine)]
    assert [row["attempt"] for row in rows(engine, "late_record")] == [1]

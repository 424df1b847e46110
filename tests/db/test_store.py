"""The database: what is stored, once, and what is refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

import jobs
from db import queries, rollup, store
from db.engine import DatabaseError, migrate, open_database, open_readonly
from db.models import Base


@pytest.fixture
def engine(tmp_path):
    engine = open_database(str(tmp_path / "farm.db"))
    yield engine
    engine.dispose()


def test_a_record_comes_back_verbatim(engine):
    record = jobs.record()
    store.record_run(engine, "run-1", "smoke", 1.0, [record.job])
    assert store.record_result(engine, record)
    assert queries.records(engine, "run-1") == [record]


def test_storing_a_record_twice_stores_it_once(engine):
    record = jobs.record()
    store.record_run(engine, "run-1", "smoke", 1.0, [record.job])
    store.record_result(engine, record)
    assert not store.record_result(engine, jobs.record(values=(9.0,)))
    (value,) = queries.newest(engine)
    assert (value.value, value.trials) == (2.0, 3)


def test_recording_a_run_twice_changes_nothing(engine):
    for _ in range(2):
        store.record_run(engine, "run-1", "smoke", 1.0, [jobs.job()])
    (run,) = queries.runs(engine)
    assert (run.jobs, run.records) == (1, 0)


def test_jobs_without_a_record_are_pending_in_their_order(engine):
    several = [jobs.job(repetition=number) for number in range(3)]
    store.record_run(engine, "run-1", "smoke", 1.0, several)
    store.record_result(engine, jobs.record(several[1]))
    assert queries.pending_jobs(engine, "run-1") == [several[0], several[2]]


def test_a_run_is_finished_once_every_job_has_a_record(engine):
    store.record_run(engine, "run-1", "smoke", 1.0, [jobs.job()])
    store.record_wall(engine, "run-1", 2.0)
    assert queries.runs(engine)[0].finished is None
    store.record_result(engine, jobs.record())
    store.record_wall(engine, "run-1", 3.0)
    (run,) = queries.runs(engine)
    assert run.finished is not None
    assert run.wall == 5.0


def test_warmups_and_failed_records_do_not_count_as_values(engine):
    record = jobs.record(status="failed")
    store.record_run(engine, "run-1", "smoke", 1.0, [record.job])
    store.record_result(engine, record)
    assert queries.newest(engine) == ()


def test_a_record_of_a_run_that_nobody_stored_is_refused(engine):
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        store.record_result(engine, jobs.record())


def test_a_foreign_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="songs"):
        open_database(str(path))
    assert _tables(path) == {"songs"}
    assert before[:16] == path.read_bytes()[:16]


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database at all")
    with pytest.raises(DatabaseError, match="not a database; this file belongs"):
        open_database(str(path))
    assert path.read_text().startswith("these are my notes")


def test_a_database_of_a_newer_farm_is_refused(tmp_path):
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DatabaseError, match="another turbofarm"):
        open_database(str(path))


def test_an_upgrade_that_fails_leaves_a_database_as_it_was(tmp_path, monkeypatch):
    def fail(_):
        raise OperationalError("rebuild", {}, sqlite3.OperationalError("disk I/O error"))

    file = tmp_path / "farm.db"
    monkeypatch.setattr(rollup, "rebuild", fail)
    with pytest.raises(DatabaseError, match="disk I/O error"):
        open_database(str(file))
    monkeypatch.undo()
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    open_database(str(file)).dispose()


@pytest.mark.slow
def test_several_who_make_a_database_at_once_all_find_it_whole(tmp_path):
    code = f"from db.engine import open_database; open_database({str(tmp_path / 'farm.db')!r})"
    begun = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)
    ]
    assert [(each.communicate()[1], each.returncode) for each in begun] == [(b"", 0)] * 4


def test_a_database_of_the_first_revision_is_upgraded_with_what_it_holds(tmp_path):
    old = create_engine(f"sqlite:///{tmp_path / 'farm.db'}")
    with old.begin() as connection:
        migrate(connection, "0001")
        row = "INSERT INTO run (id, suite, started, wall) VALUES ('run-1', 'smoke', 1.0, 2.0)"
        connection.execute(text(row))
    old.dispose()
    engine = open_database(str(tmp_path / "farm.db"))
    assert [(run.id, run.wall) for run in queries.runs(engine)] == [("run-1", 2.0)]
    engine.dispose()


@pytest.mark.parametrize("opened", [open_database, open_readonly])
def test_a_folder_is_no_database(tmp_path, opened):
    with pytest.raises(DatabaseError, match="is a folder; name a file"):
        opened(str(tmp_path))


def test_another_kind_of_database_is_refused():
    with pytest.raises(DatabaseError, match="only SQLite"):
        open_database("postgresql://localhost/farm")


def test_reading_needs_a_database(tmp_path):
    with pytest.raises(DatabaseError, match="make it with: farm run"):
        open_readonly(str(tmp_path / "farm.db"))


def test_a_reader_sees_what_is_there_and_cannot_write(tmp_path, engine):
    store.record_run(engine, "run-1", "smoke", 1.0, [jobs.job()])
    reader = open_readonly(str(tmp_path / "farm.db"))
    assert [run.id for run in queries.runs(reader)] == ["run-1"]
    with pytest.raises(DatabaseError, match="readonly"):
        store.record_wall(reader, "run-1", 1.0)
    reader.dispose()


def test_every_column_has_its_reason_in_the_schema_document(engine):
    document = (Path(store.__file__).parent / "schema.md").read_text()
    for table in Base.metadata.tables.values():
        assert f"## {table.name}:" in document
        section = document.split(f"## {table.name}:")[1].split("\n## ")[0]
        for column in table.columns:
            assert f"`{column.name}`" in section, f"{table.name}.{column.name}"


def _tables(path) -> set[str]:
    with sqlite3.connect(path) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    return found

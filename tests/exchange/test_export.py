"""``farm export``: everything in the database, for other tools and other farms."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import jobs
from db import queries, store
from db.engine import open_database
from db.queries import COLUMNS
from farm.__main__ import main
from worker.record import Failure

STARTED = 1_790_000_000.0


@pytest.fixture
def database(tmp_path):
    """Return a database with a good record of three samples and a failed one of another run."""
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    good = jobs.record(started=STARTED)
    failed = jobs.record(
        jobs.job(run="run-2"),
        values=(),
        started=STARTED,
        status="failed",
        failure=Failure(kind="memory", message="killed"),
    )
    for record in (good, failed):
        store.record_run(engine, record.job.run, "smoke", STARTED, [record.job])
        store.record_result(engine, record)
    engine.dispose()
    return path


def exported(database, *arguments):
    assert main(["export", *map(str, arguments), "--db", str(database)]) == 0


def test_csv_and_parquet_hold_a_row_for_each_sample_and_each_failure(database, tmp_path):
    for name in ("all.csv", "all.parquet"):
        exported(database, tmp_path / name)
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert list(frame.columns) == list(COLUMNS)
    assert frame["value"].tolist()[:3] == [1.0, 2.0, 3.0]
    assert frame["status"].tolist() == ["ok", "ok", "ok", "failed"]
    assert frame["counts"].tolist() == [True, True, True, None]
    assert frame["metric"].isna().tolist() == [False, False, False, True]
    table = pd.read_csv(tmp_path / "all.csv")
    assert list(table.columns) == list(COLUMNS)
    assert table["value"].tolist()[:3] == [1.0, 2.0, 3.0]


def test_an_empty_database_gives_an_empty_table(tmp_path):
    open_database(str(tmp_path / "farm.db")).dispose()
    exported(tmp_path / "farm.db", tmp_path / "all.parquet")
    assert len(pd.read_parquet(tmp_path / "all.parquet")) == 0


def test_exported_lines_are_the_records_and_another_farm_imports_them(database, tmp_path, capsys):
    exported(database)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["ok", "failed"]
    exported(database, tmp_path / "all.jsonl")
    assert (tmp_path / "all.jsonl").read_text().splitlines() == lines
    other = str(tmp_path / "other.db")
    assert main(["import", str(tmp_path / "all.jsonl"), "--own", "--db", other]) == 0
    ours, theirs = open_database(str(database)), open_database(other)
    assert queries.records(ours, "run-1") == queries.records(theirs, "run-1")
    ours.dispose()
    theirs.dispose()


def test_only_the_runs_asked_for_are_exported(database, tmp_path, capsys):
    exported(database, tmp_path / "one.csv", "--run", "run-1")
    assert set(pd.read_csv(tmp_path / "one.csv")["run"]) == {"run-1"}
    capsys.readouterr()
    assert main(["export", "--run", "run-9", "--db", str(database)]) == 2
    assert "--run run-9: no such run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "problem"),
    [("all.xlsx", "unknown format '.xlsx'; end it with .jsonl"), ("no/all.csv", "No such file")],
)
def test_a_place_or_format_that_cannot_be_is_told(database, tmp_path, name, problem, capsys):
    assert main(["export", str(tmp_path / name), "--db", str(database)]) == 2
    assert problem in capsys.readouterr().err
    assert list(tmp_path.glob("all.*")) == []

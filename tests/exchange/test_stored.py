import json
import time

import pytest

import jobs
from db import store
from db.engine import open_database
from farm.__main__ import main
from worker.record import Environment

FACTS = {"device": "a Mac", "os_build": "25G83"}


@pytest.fixture
def database(tmp_path):
    """Return a path and a function that stores nights of one series there."""
    path = str(tmp_path / "farm.db")
    engine = open_database(path)

    def nights(values, begun=1e9, invalid=(), **facts):
        for night, value in enumerate(values):
            job = jobs.job(run=f"run-{begun}-{night}")
            environment = Environment(facts=FACTS | facts, comparable=("os_build",))
            found = jobs.record(
                job,
                values=(value,),
                started=begun + 86400 * night,
                environment=environment,
                invalid=invalid,
            )
            store.record_run(engine, job.run, "gate", time.time(), [job])
            store.record_result(engine, found)

    return path, nights


def test_a_step_of_a_stored_series_is_found_at_its_record(database, capsys):
    path, nights = database
    nights([100.0, 101.0] * 10 + [90.0, 91.0] * 10)
    assert main(["detect", "--db", path, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["index"] == 21
    assert found["effect"] == pytest.approx(-0.1, abs=0.01)
    assert found["series_id"].startswith("a Mac: memory turbo (")
    assert found["series_id"].endswith(": generation_tps")


def test_a_change_of_the_environment_and_invalid_records_are_no_step(database, capsys):
    path, nights = database
    nights([100.0, 101.0] * 10, os_build="25G84")
    nights([80.0, 81.0] * 10, begun=1.1e9)
    nights([40.0] * 10, begun=1.2e9, invalid=jobs.BUSY)
    assert main(["detect", "--db", path, "--json"]) == 0
    assert capsys.readouterr().out == ""

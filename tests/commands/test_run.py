"""``farm run`` whole: real processes, a real model, a real database."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import jobs
from farm.exchange import bundle, bundling
from programs import words
from worker.record import Record

pytestmark = pytest.mark.slow

SUITE = """
description: a few small cells
models: [reference]
deadline: {deadline}
caches:
  fp16: {{kind: fp16}}
  turbo: {{kind: turbo, key_bits: 4, value_bits: 4}}
cells:
- {{benchmark: memory, contexts: [160], params: {{tokens: 2}}}}
- {{benchmark: divergence, caches: [turbo], contexts: [160], params: {{positions: 4, greedy: 2}}}}
"""


@pytest.fixture
def farm(tmp_path):
    """Start ``farm`` in a folder of its own, with a suite ``mine.yaml`` there.

    A run measures each job once, whatever disturbs this machine.
    """
    repository = Path(__file__).parents[2]
    (tmp_path / "mine.yaml").write_text(SUITE.format(deadline=120))
    (tmp_path / "inventory.yaml").write_text(f"subject: {{repository: {repository}}}\n")

    def start(*arguments, program=(sys.executable, "-m", "farm")):
        once = ["--again", "0", "--anyway"] if arguments[0] == "run" else []
        return subprocess.Popen(
            [*program, *arguments, *once],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(repository), "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def quick(farm):
    """Start ``farm`` with its jobs in one process, where it is no matter how they run."""
    return partial(farm, program=words("farm_in_one"))


def finish(process):
    output, errors = process.communicate()
    return process.returncode, output, errors


def stored(folder):
    with sqlite3.connect(folder / ".farm" / "farm.db") as connection:
        rows = connection.execute("SELECT cell_id, host, build_hash, status FROM record")
        found = sorted(rows.fetchall())
    connection.close()
    return found


def test_a_run_measures_every_cell_and_tells_what_it_found(farm, tmp_path):
    status, output, errors = finish(farm("run", "--suite", "mine.yaml"))
    assert status == 0, errors
    lines = output.splitlines()
    assert lines[0] == "local: reference"
    assert "kv_bytes@160" in lines[1]
    assert lines[3].startswith("turbo(key_bits=4, value_bits=4)")
    assert "harness overhead: " in output
    assert "farm dashboard" in lines[-1]
    assert "[3/3]" in errors
    assert [row[3] for row in stored(tmp_path)] == ["ok"] * 3


def test_after_kill_9_half_way_resume_gives_each_record_once(farm, tmp_path):
    process = farm("run", "--suite", "mine.yaml")
    for line in process.stderr:
        if line.startswith("[1/3]"):
            break
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert len(stored(tmp_path)) < 3
    status, _, errors = finish(farm("run", "--resume"))
    assert status == 0, errors
    records = stored(tmp_path)
    assert len(set(records)) == len(records) == 3


def test_resuming_without_an_interrupted_run_says_so(farm):
    status, _, errors = finish(farm("run", "--resume"))
    assert status == 2
    assert "every run is finished; start one with: farm run" in errors


def test_a_job_that_misses_its_deadline_is_named_and_the_rest_is_kept(farm, tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE.format(deadline=0.2))
    status, _, errors = finish(farm("run", "--suite", "mine.yaml"))
    assert status == 3
    assert "failed: local: memory@160 fp16: not done after 0.2 s; give the cell a longer" in errors
    assert [row[3] for row in stored(tmp_path)] == ["failed"] * 3


def test_json_prints_the_records(quick):
    status, output, _ = finish(quick("run", "--suite", "mine.yaml", "--json"))
    *documents, last = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert {figure["metric"] for figure in last["summary"]["figures"]} >= {"kv_bytes"}
    assert {document["version"] for document in documents} == {2}
    assert len(documents) == 3


def test_what_json_printed_can_be_imported(quick, tmp_path):
    _, output, _ = finish(quick("run", "--suite", "mine.yaml", "--json"))
    (tmp_path / "all.jsonl").write_text(output)
    status, told, errors = finish(quick("import", "all.jsonl", "--db", "other.db"))
    assert (status, told) == (0, "all.jsonl: 3 records stored, 0 known before\n"), errors


def test_a_foreign_database_costs_no_measurement(farm, tmp_path):
    (tmp_path / "other.db").write_text("this is not a database, but a note to myself")
    status, _, errors = finish(farm("run", "--suite", "mine.yaml", "--db", "other.db"))
    assert status == 2
    assert "choose another with --db" in errors


def test_a_place_where_no_database_can_be_is_told_before_anything_is_measured(farm):
    status, _, errors = finish(farm("run", "--suite", "mine.yaml", "--db", "mine.yaml/farm.db"))
    assert status == 2
    assert "mine.yaml/farm.db: " in errors
    assert "choose another with --db" in errors


def test_what_the_database_cannot_take_is_spooled_and_can_be_imported(quick, tmp_path):
    finish(quick("run", "--suite", "mine.yaml", "--db", "full.db"))
    with sqlite3.connect(tmp_path / "full.db") as connection:
        connection.execute("DELETE FROM sample")
        connection.execute("DELETE FROM record")
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON record "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    connection.close()
    status, _, errors = finish(quick("run", "--resume", "--db", "full.db"))
    assert status == 2
    assert "free some disk space, then continue with --resume" in errors
    (spool,) = (tmp_path / ".farm" / "spool").iterdir()
    status, output, errors = finish(quick("import", str(spool), "--db", "new.db"))
    assert (status, output) == (0, f"{spool}: 1 record stored, 0 known before\n"), errors


def test_a_bundle_carries_a_run_to_another_farm(quick, tmp_path):
    with (tmp_path / "inventory.yaml").open("a") as inventory:
        inventory.write("hosts: {annas-desk: {local: true}}\n")
    status, _, errors = finish(quick("run", "--suite", "mine.yaml", "--bundle", "alice.zip"))
    assert status == 0, errors
    assert "alice.zip: all of the run; whoever gets it: farm import alice.zip" in errors
    sent = bundle.read(tmp_path / "alice.zip")
    text = sent.manifest.model_dump_json() + "".join(map(Record.model_dump_json, sent.records))
    assert "annas-desk" not in text
    manifest = sent.manifest
    assert [report.passed for report in manifest.conformance.values()] == [True]
    assert "device" in manifest.environment.facts
    status, output, errors = finish(quick("import", "alice.zip", "--db", "other.db"))
    assert (status, output) == (0, "alice.zip: 3 records stored, 0 known before\n"), errors
    assert "hosts <host 1>@alice" in errors
    assert "harness" not in errors


def test_a_place_where_no_bundle_can_be_is_told_before_anything_is_measured(farm, tmp_path):
    status, _, errors = finish(farm("run", "--suite", "mine.yaml", "--bundle", "no/out.zip"))
    assert status == 2
    assert "--bundle no/out.zip: no file in a folder that is there" in errors
    assert not (tmp_path / ".farm").exists()


def test_a_subject_without_golden_vectors_is_said_to_have_none(tmp_path):
    build = jobs.unpacked_build(tmp_path, "# another cache")
    report = bundling.conformance(tmp_path, build.hash)
    assert not report.passed
    assert report.unknown.startswith("the build has no golden vectors")

"""``farm import``: what others send is taken whole or not at all, and never passes for ours."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobs
import mutated_bundles
from db import queries, store
from db.engine import open_database
from farm.__main__ import main
from farm.errors import ConfigurationError
from farm.exchange import bundle, origin, untrusted
from farm.exchange.untrusted import UntrustedError

HEADER = "source,device,model,cache,benchmark,context,metric,kind,value,note"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "farm.db"
    open_database(str(path)).dispose()
    return path


@pytest.fixture
def inbox(tmp_path, empty_database, monkeypatch):
    """Return a folder deep in another, with an empty database; it is the working directory."""
    folder = tmp_path / "home" / "user" / "inbox"
    folder.mkdir(parents=True)
    shutil.copy(empty_database, folder / "farm.db")
    monkeypatch.chdir(folder)
    return folder


def imported(path, *arguments):
    return main(["import", str(path), "--db", "farm.db", *arguments])


def dump(path):
    with sqlite3.connect(path) as connection:
        found = list(connection.iterdump())
    connection.close()
    return found


def tree(folder):
    return {path for path in folder.rglob("*") if not path.name.startswith("farm.db")}


def test_a_bundle_comes_back_as_it_was_written(tmp_path):
    mutated_bundles.write(tmp_path / "out.zip")
    found = bundle.read(tmp_path / "out.zip")
    assert found.records == mutated_bundles.records()
    assert found.manifest.conformance[found.manifest.builds[0]].passed


@pytest.mark.slow
def test_two_hundred_mutated_bundles_crash_nothing_and_are_stored_whole_or_not_at_all(
    inbox, tmp_path, empty_database, capsys
):
    good = inbox / "good.zip"
    mutated_bundles.write(good)
    path = inbox / "sent.zip"
    path.touch()
    files, before, refused = tree(tmp_path), dump(empty_database), 0
    for name, content in mutated_bundles.mutated(good.read_bytes(), 200, seed=8):
        for left in inbox.glob("farm.db*"):
            left.unlink()
        shutil.copy(empty_database, "farm.db")
        path.write_bytes(content)
        status = imported(path, "--origin", "tester")
        output = capsys.readouterr()
        assert status in (0, 2), name
        assert tree(tmp_path) == files, name
        if status == 2:
            refused += 1
            assert output.err.startswith("error: "), name
            assert dump("farm.db") == before, name
        else:
            stored = int(output.out.partition(": ")[2].partition(" ")[0])
            with sqlite3.connect("farm.db") as connection:
                counted = connection.execute("SELECT count(*) FROM record").fetchone()
            connection.close()
            assert counted == (stored,), name
            assert main(["export", "all.csv", "--db", "farm.db"]) == 0, name
            (inbox / "all.csv").unlink()
            capsys.readouterr()
    assert 150 < refused < 200


def test_an_imported_run_does_not_pass_for_one_of_a_host_of_ours(inbox):
    engine = open_database("farm.db")
    (ours, *_) = mutated_bundles.records()
    store.record_run(engine, ours.job.run, "smoke", 1.0, [ours.job])
    store.record_result(engine, ours)
    mutated_bundles.write(inbox / "alice.zip")
    assert imported("alice.zip") == 0
    devices = {(row.device, row.host) for row in queries.newest(engine)}
    assert devices == {
        ("Apple M5 Max", "local"),
        ("Apple M5 Max (from alice)", "local@alice"),
    }
    assert {run.id for run in queries.runs(engine)} == {ours.job.run, f"{ours.job.run}@alice"}
    keys = {row.comparison_key for row in queries.newest(engine)}
    assert len(keys) == 2
    own = queries.build_values(engine, [ours.job.build.hash])
    assert {value.host for value in own} == {"local"}
    assert queries.last_success(engine) == ours.started
    engine.dispose()


def test_importing_twice_stores_once_and_two_testers_stay_apart(inbox, capsys):
    mutated_bundles.write(inbox / "out.zip")
    assert imported("out.zip", "--origin", "alice") == 0
    assert "3 records stored, 0 known before" in capsys.readouterr().out
    assert imported("out.zip", "--origin", "alice") == 0
    assert "0 records stored, 3 known before" in capsys.readouterr().out
    assert imported("out.zip", "--origin", "bob") == 0
    output = capsys.readouterr()
    assert "3 records stored, 0 known before" in output.out
    assert "hosts local@bob, devices '... (from bob)'" in output.err


def test_own_records_join_our_series(inbox, capsys):
    lines = [record.model_dump_json() for record in mutated_bundles.records()]
    (inbox / "spool.jsonl").write_text("\n".join(lines))
    assert imported("spool.jsonl", "--own") == 0
    engine = open_database("farm.db")
    assert {row.device for row in queries.newest(engine)} == {"Apple M5 Max"}
    assert "from" not in capsys.readouterr().err
    engine.dispose()


def test_one_bad_line_keeps_the_whole_file_out_and_each_bad_line_is_named(inbox, capsys):
    good = [record.model_dump_json() for record in mutated_bundles.records()]
    bad = (
        good[0].replace('"value":1.0', '"value":NaN'),
        good[0].replace('"version":2', '"version":3', 1),
    )
    (inbox / "sent.jsonl").write_text("\n".join([*good, *bad]))
    before = dump("farm.db")
    assert imported("sent.jsonl") == 2
    errors = capsys.readouterr().err
    assert "line 4: no record: not JSON: NaN is no number of JSON" in errors
    assert "line 5: no record: version 3, known is 1 and 2; update this farm" in errors
    assert dump("farm.db") == before


def test_a_database_that_fails_half_way_keeps_nothing(inbox, capsys):
    mutated_bundles.write(inbox / "out.zip")
    with sqlite3.connect("farm.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON record WHEN (SELECT count(*) FROM record) = 2 "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    connection.close()
    before = dump("farm.db")
    assert imported("out.zip") == 2
    assert "free some disk space" in capsys.readouterr().err
    assert dump("farm.db") == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"started": 1e12}, "is no time from 2020 to now"),
        ({"started": 1.0}, "is no time from 2020 to now"),
        ({"attempt": 0}, "attempt: 0"),
        ({"phases": {"measure": -1.0}}, "measure: -1 seconds"),
        ({"build_hash": "1" * 16}, "other bytes ran"),
        ({"status": "failed"}, "status 'failed' without a failure"),
        ({"host": "a\nb"}, r"host: 'a\\nb' is no name"),
        ({"values": (1e300,)}, "a number that is not finite, or huge"),
        ({"job": jobs.job(run=" ")}, "job.run: ' ' is no name"),
        ({"job": jobs.job(repetition=10**6)}, "repetition: 1000000"),
    ],
)
def test_what_no_host_of_a_farm_reports_is_refused(change, problem):
    record = jobs.record(**({"started": mutated_bundles.STARTED} | change))
    with pytest.raises(UntrustedError, match=problem):
        untrusted.record(record.model_dump_json())


def test_a_metric_of_a_newer_farm_is_refused_with_the_remedy(inbox, capsys):
    text = mutated_bundles.records()[0].model_dump_json()
    (inbox / "sent.jsonl").write_text(text.replace("generation_tps", "warp_factor"))
    assert imported("sent.jsonl") == 2
    errors = capsys.readouterr().err
    assert "unknown metric 'warp_factor'; update this farm, or export again" in errors


def test_another_harness_and_failed_conformance_are_told(inbox, capsys):
    mutated_bundles.write(inbox / "out.zip")
    content = mutated_bundles.parts((inbox / "out.zip").read_bytes())
    manifest = json.loads(content[bundle.MANIFEST])
    (report,) = manifest["conformance"].values()
    report["codec_failures"] = ["codec/80/3"]
    changed = json.dumps(manifest).encode()
    (inbox / "out.zip").write_bytes(
        mutated_bundles.with_hash_kept(changed, content[bundle.RECORDS])
    )
    assert imported("out.zip") == 0
    errors = capsys.readouterr().err
    assert "measured by another harness (0000000000000000, here " in errors
    assert "conformance of build 0000000000000000: codec/80/3" in errors


@pytest.mark.parametrize("name", ["no-such-file.zip", ".", "farm.db", "notes.txt"])
def test_what_is_no_file_of_records_is_refused_in_a_sentence(inbox, name, capsys):
    (inbox / "notes.txt").write_text("")
    assert imported(name) == 2
    assert f"error: {name}: " in capsys.readouterr().err


def test_an_origin_is_a_short_name(inbox, capsys):
    assert imported("out.zip", "--origin", "a b") == 2
    assert "take up to 40 letters" in capsys.readouterr().err


def test_published_tables_of_ones_own_are_stored_once(inbox, capsys):
    row = "a paper,Apple M9,m,fp16,decode,512,generation_tps,figure,63.6,"
    (inbox / "mine.csv").write_text(f"{HEADER}\n{row}\n")
    assert imported("mine.csv") == 0
    assert "1 published figures stored, 0 known before" in capsys.readouterr().out
    assert imported("mine.csv") == 0
    assert "0 published figures stored, 1 known before" in capsys.readouterr().out
    (inbox / "mine.csv").write_text(f"{HEADER}\n{row.replace('63.6', 'fast')}\n")
    assert imported("mine.csv") == 2
    assert "mine.csv: line 2: value 'fast' is no finite number" in capsys.readouterr().err


def test_a_table_of_the_farm_is_not_replaced(inbox, capsys):
    (inbox / "seed-mm-niah.csv").write_text(HEADER)
    assert imported("seed-mm-niah.csv") == 2
    assert "name the file otherwise" in capsys.readouterr().err


def test_a_file_gives_its_origin_a_name(tmp_path):
    assert origin.of_file(tmp_path / "alice's mini (2).zip") == "alice-s-mini-2"
    assert origin.of_file(tmp_path / "ü.zip") == "elsewhere"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside),
    max_leaves=10,
)
FIELDS = sorted(type(jobs.record()).model_fields)


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_gives_a_record_or_a_reason(field, value):
    document = json.loads(mutated_bundles.records()[0].model_dump_json()) | {field: value}
    with suppress(UntrustedError):
        found = untrusted.record(json.dumps(document))
        assert untrusted.record(found.model_dump_json()) == found


@given(content=st.binary(max_size=400), whole=st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_no_bundle_and_no_traceback(tmp_path, content, whole):
    path = tmp_path / "sent.zip"
    packed = mutated_bundles.packed([(bundle.MANIFEST, content), (bundle.RECORDS, content)])
    path.write_bytes(packed if whole else b"PK" + content)
    with pytest.raises(ConfigurationError):
        bundle.read(path)

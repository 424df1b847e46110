"""Files of llama-bench, by anybody and of any version, as records."""

import json

import pytest

from db import queries
from db.engine import open_database
from fake_llama_bench import GOLDEN, NEW, OLD
from farm.__main__ import main


@pytest.fixture
def take(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def take(*documents, text=None, whose="--origin=friend"):
        path = tmp_path / "bench.json"
        path.write_text(json.dumps(documents) if text is None else text)
        code = main(["import", str(path), "--db", str(tmp_path / "farm.db"), whose])
        return code, capsys.readouterr()

    return take


@pytest.fixture
def stored(tmp_path):
    def stored():
        engine = open_database(str(tmp_path / "farm.db"))
        return [
            record for run in queries.runs(engine) for record in queries.records(engine, run.id)
        ]

    return stored


def test_old_and_new_schemas_become_records_with_every_sample(take, stored):
    code, said = take(OLD, NEW)
    assert code == 0
    assert "2 records stored" in said.out
    by_metric = {record.samples[0].metric: record for record in stored()}
    assert [s.value for s in by_metric["prompt_tps"].samples] == [512.0, 256.0]
    assert [s.value for s in by_metric["generation_tps"].samples] == [50.0, 70.0]
    cell = by_metric["generation_tps"].job.cell
    assert (cell.benchmark, cell.model) == ("llama_bench", "tiny.gguf")
    assert cell.cache.label == "llama_cpp(keys=q8_0, values=turbo3)"
    assert (cell.params["context"], cell.params["tokens"]) == (4096, 128)
    assert by_metric["generation_tps"].environment.device == "Apple M4 Max (from friend)"
    assert by_metric["prompt_tps"].started == 1_701_950_330.0


@pytest.mark.parametrize("field", ["model_filename", "cpu_info", "a_field_of_tomorrow"])
def test_text_that_is_no_text_is_refused_in_a_sentence(take, field):
    code, said = take({**NEW, field: "\ud800"})
    assert code == 2
    assert "a text that is no text" in said.err


def test_the_same_file_twice_is_stored_once(take, stored):
    text = (GOLDEN / "reference.json").read_text()
    assert take(text=text)[0] == 0
    assert "0 records stored, 2 known before" in take(text=text)[1].out
    assert len(stored()) == 2


def test_records_of_such_a_file_that_are_exported_are_records_as_any_other(take, stored):
    take(OLD, NEW, whose="--own")
    lines = "\n".join(record.model_dump_json() for record in stored())
    assert "0 records stored, 2 known before" in take(text=lines, whose="--own")[1].out


def test_two_equal_tests_of_a_file_are_both_kept(take, stored):
    take(OLD, {**OLD, "samples_ns": [3]})
    assert sorted(record.job.repetition for record in stored()) == [0, 1]


def test_lines_of_json_are_taken_too(take, stored):
    assert take(text=f"{json.dumps(OLD)}\n{json.dumps(NEW)}\n")[0] == 0
    assert len(stored()) == 2


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        ([{**OLD, "samples_ns": [], "samples_ts": []}], "test 1: no samples_ns and no samples_ts"),
        ([OLD, {**OLD, "n_gen": 16}], "test 2: one time for reading and generating together"),
        ([], "no test in it"),
    ],
)
def test_a_file_without_samples_of_ours_is_refused_whole(take, documents, told):
    code, said = take(*documents)
    assert code == 2
    assert told in said.err
    assert "llama-bench -o json" in said.err


def test_another_file_is_still_told_line_by_line(take):
    code, said = take(text="nothing\n")
    assert code == 2
    assert "line 1: no record" in said.err

"""Files as people have them: any encoding, logs around them, several runs, and of other tools."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mutated_bundles
from db import queries
from db.engine import open_database
from fake_llama_bench import NEW, OLD
from farm.__main__ import main
from farm.errors import ConfigurationError
from farm.exchange import received
from worker import llama_cpp

LINES = "\n".join(record.model_dump_json() for record in mutated_bundles.records())
BENCH = json.dumps([OLD], indent=2)


@pytest.fixture
def take(tmp_path, monkeypatch, capsys):
    """Import a file of this name and content; return status, output and the stored records."""
    monkeypatch.chdir(tmp_path)

    def take(content, name="sent.json", *more):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        status = main(["import", name, "--db", "farm.db", "--origin", "friend", *more])
        engine = open_database("farm.db")
        stored = [r for run in queries.runs(engine) for r in queries.records(engine, run.id)]
        engine.dispose()
        return status, capsys.readouterr(), stored

    return take


@pytest.mark.parametrize("text", [LINES, BENCH], ids=["records", "llama-bench"])
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"], ids=lambda name: name
)
def test_every_encoding_of_a_shell_is_read(take, text, encoding):
    status, _, stored = take(text.replace("\n", "\r\n").encode(encoding))
    assert status == 0
    assert len(stored) == (3 if text == LINES else 1)


LOG = "[1/5] loading\n[INFO] ggml_metal_init: found device\nwarning: {not json}\n[7] words\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"{BENCH}\n{json.dumps([NEW])}\n", 2),
        (f"{BENCH}{json.dumps([NEW])}", 2),
        (f"{json.dumps(OLD)}\n{json.dumps([NEW])}\n", 2),
        (f"{LOG}{BENCH}\n{LOG}{json.dumps([NEW])}\n{LOG}", 2),
        (f"run 20260921: suite gate, 3 jobs\n{LINES}", 3),
    ],
    ids=["two arrays", "two arrays in one line", "lines and array", "logs between", "own log"],
)
def test_every_document_of_a_file_is_read(take, text, count):
    status, _, stored = take(text)
    assert (status, len(stored)) == (0, count)


RECEIVED = Path(__file__).parents[1] / "golden" / "received"


@pytest.mark.parametrize(("name", "count"), [("llama_bom.json", 1), ("llama_two_arrays.json", 4)])
def test_files_that_people_sent_are_read_whole(take, name, count):
    status, _, stored = take((RECEIVED / name).read_bytes(), name)
    assert (status, len(stored)) == (0, count)


def test_a_csv_that_people_sent_is_named(take):
    said = take((RECEIVED / "llama_bench_o_csv.csv").read_bytes(), "bench.csv")[1]
    told = "is the CSV of llama-bench; give the output of: llama-bench -o json"
    assert said.err.strip() == f"error: bench.csv: file: {told}"


def test_a_line_separator_of_unicode_inside_a_record_ends_no_line(take):
    record = mutated_bundles.records(1)[0]
    record = record.model_copy(update={"details": {"log": "a\u2028b\x85c"}})
    status, _, (stored,) = take(record.model_dump_json())
    assert (status, stored.details["log"]) == (0, "a\u2028b\x85c")


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (json.dumps([NEW])[:-40], "not whole JSON"),
        ("[{", "not whole JSON"),
        (json.dumps([{**NEW, "samples_ns": [], "samples_ts": []}]), "test 2: no samples_ns"),
        (json.dumps([{"something": "else"}]), "test 2: neither n_prompt nor n_gen"),
        (json.dumps({"something": "else"}), "test 2: neither n_prompt nor n_gen"),
        (LINES, "test 2: neither n_prompt nor n_gen"),
    ],
)
def test_where_one_document_is_bad_none_is_stored(take, rest, told):
    status, said, stored = take(f"{BENCH}\n{rest}\n")
    assert (status, stored) == (2, [])
    assert told in said.err


OTHERS = {
    "the CSV of llama-bench": "build_commit,build_number,cpu_info\n8cf427ff,5163,AMD\n",
    "the SQL of llama-bench": "CREATE TABLE IF NOT EXISTS llama_bench (\n  build_commit TEXT,\n",
    "the Markdown table of llama-bench": (
        "ggml_metal_init: picking default device: Apple M4\n"
        "| model                          |       size |     params | backend    | threads |"
        "            test |                  t/s |\n| -- | --: | --: | -- | --: | --: | --: |\n"
    ),
    "the table of llama-batched-bench": "|    PP |     TG |    B |   N_KV |   T_PP s |\n",
    "the output of mlx_lm.benchmark": "Running warmup..\nTrial 1:  prompt_tps=351.9, peak=3.5\n",
    "the JSON of hyperfine": '{\n  "results": [\n    {\n      "command": "sleep 1"}]}',
    "the CSV of hyperfine": "command,mean,stddev,median,user,system,min,max\nls,1,0,1,0,0,1,1\n",
    "the Markdown table of hyperfine": "| Command | Mean [ms] | Min [ms] | Max [ms] | Relative |\n",
    "the output of hyperfine": "Benchmark 1: ls\n  Time (mean \u00b1 \u03c3):  1.0 ms\n",
    "the JSON of pyperf": '{"benchmarks":[{"metadata":{"name":"x"},"runs":[]}],"version":"1.0"}',
    "the JSON of pytest-benchmark": '{"machine_info": {"node": "x"}, "benchmarks": []}',
    "the JSON of Google Benchmark": '{\n  "context": {\n    "date": "2026-01-01"}}',
    "a result of asv": '{"commit_hash": "ab", "env_name": "py3.12", "results": {}, "version": 2}',
    "a list of benchmarks of asv": '{"bench.Time.time_x": {"min_run_count": 2}, "version": 2}',
    "a result of Geekbench": "Geekbench 6.3.0 for macOS AArch64\nSingle-Core Score  3000\n",
    "a page of HTML": "<!DOCTYPE html>\n<html>",
    "the raw answers of a host": '{\n  "version": 1,\n  "system": "Darwin",\n  "known": {}}',
    "a file of pairs": "case_id,pair,base,head\na,0,1,2\n",
    "a file of series": "series_id,index,value\na,0,1\n",
    "a CSV of farm export": "record,run,suite,origin,host\n1,r,s,,h\n",
    "an array of JSON": '[{"name": "x"}]',
}


@pytest.mark.parametrize("suffix", [".csv", ".json", ".txt"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_tool_is_named_in_one_sentence_with_what_to_give(take, name, suffix):
    status, said, stored = take(OTHERS[name], f"sent{suffix}")
    assert (status, stored) == (2, [])
    (line,) = said.err.splitlines()
    assert line.startswith(f"error: sent{suffix}: file: is {name}")
    assert "; give " in line or "farm run" in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"SQLite format 3\0....", "is a database; give what can be read back: farm export"),
        (b"\x1f\x8b\x08\0", "is compressed by gzip; unpack it first"),
        (b"PAR1....", "is a Parquet file"),
        (b"\xff\xd8\xff\xe0 a photograph", "no text: byte 0 is not UTF-8; save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_named_too(take, content, told):
    status, said, _ = take(content)
    assert status == 2
    assert told in said.err
    assert len(said.err.splitlines()) == 1


def test_a_geekbench_file_is_known_by_its_name(take):
    assert "is a result of Geekbench" in take("{}", "mine.gb6")[1].err


def test_a_text_of_nobody_is_told_in_one_line(take):
    status, said, _ = take("a shopping list\n" * 50)
    assert status == 2
    assert len(said.err.splitlines()) == 1
    assert "line 1: no record" in said.err


def test_what_was_stored_is_told_as_json(take):
    said = take(LINES, "sent.json", "--json")[1]
    assert json.loads(said.out) == {"file": "sent.json", "stored": 3, "known_before": 0}


def test_a_table_in_utf_16_is_stored(take):
    row = "a paper,Apple M9,m,fp16,decode,512,generation_tps,figure,63.6,"
    header = "source,device,model,cache,benchmark,context,metric,kind,value,note"
    status, said, _ = take(f"{header}\r\n{row}\r\n".encode("utf-16"), "mine.csv")
    assert (status, "1 published figures stored" in said.out) == (0, True)


PIECES = st.sampled_from(
    [BENCH, LINES, json.dumps([NEW]), json.dumps(NEW), LOG, "[", "]", "{", "}", ",", "\n", "\ufeff"]
)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.lists(PIECES | st.text(max_size=8), max_size=6).map("".join).map(str.encode),
    st.lists(PIECES, max_size=4).map("".join).map(lambda text: text.encode("utf-16")),
)


@settings(max_examples=150)
@given(content=CONTENTS)
def test_any_file_gives_all_its_records_or_one_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("sent") / "sent.json"
    path.write_bytes(content)
    with suppress(ConfigurationError):
        assert received.records(path)


def test_a_long_log_before_the_json_takes_no_time_of_its_own():
    log = "[1/5] loading\n" * 200_000
    assert len(llama_cpp.tests(log + BENCH)) == 1

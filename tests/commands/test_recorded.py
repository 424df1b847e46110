"""Recorded figures as people have them: the cases of tests/judge/cases, files of other tools."""

import json
from pathlib import Path

import numpy as np
import pytest

from farm.__main__ import main
from farm.exchange.direction import contradicts

CASES = Path(__file__).parent.parent / "judge" / "cases"
ASSUMED = "higher is better (assumed); of seconds or bytes give --lower-is-better"


def detected(capsys, *arguments):
    """Return the exit code, the JSON lines and what was said on standard error."""
    code = main(["detect", "--json", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def levels(*parts):
    """Return a series of about so many values at each level."""
    noise = np.random.default_rng(7).normal(0, 0.003, sum(count for _, count in parts))
    return np.repeat(*zip(*parts, strict=True)) * np.exp(noise)


def test_ten_steps_in_one_window_are_all_found(capsys):
    code, found, _ = detected(capsys, "--csv", CASES / "stairs10x3_cv1.csv")
    right = (12, 27, 51, 71, 86, 103, 122, 154, 168, 183)
    assert code == 1
    assert len(found) == len(right)
    assert all(abs(one["index"] - step) <= 3 for one, step in zip(found, right, strict=True))


def test_a_slow_loss_is_told_as_what_it_is(capsys):
    code, (slow,), _ = detected(capsys, "--csv", CASES / "ramp10_cv03.csv")
    assert (code, slow["index"], slow["until"], slow["points"]) == (1, 0, 199, 200)
    assert slow["effect"] == pytest.approx(-0.1, abs=0.01)
    main(["detect", "--csv", str(CASES / "ramp10_cv03.csv")])
    assert "over 200 points, no single step (0 to 199)" in capsys.readouterr().out


def test_noise_that_differs_and_states_that_come_and_go_are_silent(capsys):
    assert detected(capsys, "--csv", CASES / "noisy_month.csv")[:2] == (0, [])
    _, found, _ = detected(capsys, "--csv", CASES / "twostate_from120.csv")
    assert all(abs(one["index"] - 120) <= 3 for one in found)
    assert len(found) <= 1


def test_the_first_of_three_bad_nights_is_blamed(capsys):
    _, (found,), _ = detected(capsys, "--csv", CASES / "last3.csv")
    assert found["index"] == 97
    assert found["effect"] == pytest.approx(-0.3, abs=0.01)


@pytest.mark.parametrize("name", ["d02", "d15", "d24", "d25", "d39"])
def test_tables_whose_meaning_is_plain_are_read(capsys, name):
    code, (found,), err = detected(capsys, "--csv", CASES / f"{name}.csv")
    assert (code, found["series_id"], found["index"]) == (1, "decode", 30)
    assert ASSUMED in err


def test_a_decimal_comma_between_commas_is_named_once(capsys):
    code, found, err = detected(capsys, "--csv", CASES / "d04.csv")
    assert (code, found) == (2, [])
    (line,) = err.splitlines()
    assert "line 2 and 59 more: value '41,019' has a comma; write a point" in line


def test_the_direction_that_was_assumed_is_printed_with_the_remedy(capsys):
    assert main(["compare", "--csv", str(CASES / "c13.csv")]) == 0
    assert ASSUMED in capsys.readouterr().out
    assert main(["detect", "--csv", str(CASES / "d36.csv")]) == 0
    assert ASSUMED in capsys.readouterr().out
    assert main(["detect", "--csv", str(CASES / "d36.csv"), "--lower-is-better"]) == 1
    assert "lower is better\n" in capsys.readouterr().out


def test_a_unit_or_name_that_speaks_against_the_direction_is_refused_until_it_is_said(capsys):
    file = str(CASES / "c18.csv")
    assert main(["compare", "--csv", file]) == 2
    assert "'ms' sounds as if less were better" in capsys.readouterr().err
    assert main(["compare", "--csv", file, "--lower-is-better"]) == 0
    assert main(["compare", "--csv", file, "--higher-is-better"]) == 1


@pytest.mark.parametrize(
    "name", ["ms", "decode (s)", "decode_seconds", "p99 latency", "kv_bytes", "ns/op", "ttft", "MB"]
)
def test_times_and_sizes_sound_as_if_less_were_better(name):
    assert contradicts(name)


@pytest.mark.parametrize("name", ["decode", "tok/s", "GB/s", "words per second", "s0", "steps"])
def test_rates_and_other_names_do_not(name):
    assert not contradicts(name)


def written(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_column_a_series_with_dates_keeps_the_dates(tmp_path, capsys):
    days = [f"2026-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(60)]
    values = levels((40.0, 30), (36.0, 30))
    rows = [
        f"{day};{value:.3f};;7".replace(".", ",") for day, value in zip(days, values, strict=True)
    ]
    file = written(tmp_path / "wide.csv", "date;decode;prefill;", reversed(rows))
    code, (found,), _ = detected(capsys, "--csv", file)
    assert (code, found["series_id"], found["index"]) == (1, "decode", days[30])


def test_commits_as_index_keep_the_order_of_the_file(tmp_path, capsys):
    commits = [f"{i * 7919:x}".rjust(10, "f") for i in range(60)]
    values = levels((40.0, 30), (36.0, 30))
    rows = [f"decode,{commit},{value},note" for commit, value in zip(commits, values, strict=True)]
    file = written(tmp_path / "commits.csv", "series_id,index,value,remark", rows)
    code, (found,), _ = detected(capsys, "--csv", file)
    assert (code, found["index"]) == (1, commits[30])


def test_figures_of_different_units_are_named_once(tmp_path, capsys):
    rows = ["a,0,1 GB/s", "a,1,1 MB/s", "a,2,3"]
    code, _, err = detected(
        capsys, "--csv", written(tmp_path / "units.csv", "series_id,index,value", rows)
    )
    assert code == 2
    assert "line 3: figures of different units: 'GB/s' and 'MB/s' and none" in err


def test_control_characters_of_names_never_reach_a_terminal(tmp_path, capsys):
    values = levels((40.0, 30), (36.0, 30))
    rows = [f"\x1b[31mred\x07,{i},{value}" for i, value in enumerate(values)]
    main(["detect", "--csv", str(written(tmp_path / "a.csv", "series_id,index,value", rows))])
    main(["detect", "--csv", str(written(tmp_path / "b.csv", "\x1b[31m,b", rows))])
    out, err = capsys.readouterr()
    assert "\\x1b[31mred\\x07" in out
    assert "\x1b" not in out + err


def test_a_data_js_is_read_with_the_direction_of_its_tool(tmp_path, capsys):
    runs = [
        {
            "commit": {"id": f"{i:040x}"},
            "date": 1_700_000_000_000 + i,
            "tool": "cargo",
            "benches": [{"name": "fib", "value": str(value), "unit": "ns/iter"}] * 2,
        }
        for i, value in enumerate(levels((100.0, 20), (120.0, 20)))
    ]
    document = {"lastUpdate": 1, "entries": {"Rust": runs[::-1]}}
    file = tmp_path / "data.js"
    file.write_text(f"window.BENCHMARK_DATA = {json.dumps(document, indent=2)}")
    code, (found,), err = detected(capsys, "--of", file)
    assert (code, found["series_id"], found["index"]) == (1, "Rust: fib", f"{20:040x}")
    assert err == ""


def test_a_folder_of_asv_results_is_read_by_parameters(tmp_path, capsys):
    machine = tmp_path / "machine"
    machine.mkdir()
    (tmp_path / "benchmarks.json").write_text(
        json.dumps({"suite.time_it": {"unit": "seconds"}, "version": 2})
    )
    (machine / "machine.json").write_text("{}")
    for i, value in enumerate(levels((1.0, 20), (1.2, 20))):
        row = [[value, None], [["10", "20"]], "version", i]
        document = {
            "commit_hash": f"{i:040x}",
            "date": 1000 - i,
            "env_name": "py3.12",
            "result_columns": ["result", "params", "version", "started_at"],
            "results": {"suite.time_it": row},
        }
        (machine / f"{i:08x}-py3.12.json").write_text(json.dumps(document))
    code, (found,), _ = detected(capsys, "--of", tmp_path)
    assert (code, found["index"]) == (0, f"{19:040x}")
    assert found["series_id"] == "machine: py3.12: suite.time_it(10)"


def test_json_of_bencher_is_read(tmp_path, capsys):
    metrics = [
        {
            "start_time": f"2026-01-01T00:00:{i:02d}Z",
            "version": {"number": i, "hash": f"{i:040x}"},
            "metric": {"value": value},
        }
        for i, value in enumerate(levels((1.0, 20), (1.2, 20)))
    ]
    names = {part: {"name": part} for part in ("branch", "testbed", "benchmark")}
    measure = {"name": "Latency", "slug": "latency", "units": "nanoseconds (ns)"}
    file = tmp_path / "perf.json"
    file.write_text(json.dumps({"results": [names | {"measure": measure, "metrics": metrics}]}))
    code, (found,), _ = detected(capsys, "--of", file)
    assert (code, found["index"]) == (1, f"{20:040x}")
    assert found["series_id"] == "branch: testbed: benchmark: Latency"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"results": [1]}', '{"entries": {"a": [{}]}}', "window.BENCHMARK_DATA = {"]
)
def test_other_files_are_refused_in_one_sentence(tmp_path, capsys, text):
    file = tmp_path / "other.json"
    file.write_text(text)
    code, found, err = detected(capsys, "--of", file)
    assert (code, found) == (2, [])
    assert err.count("\n") == 1
    assert "give a data.js, the folder of asv's results" in err

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.__main__ import main


def pairs_csv(path, cases, pairs=30, seed=1):
    """Write pairs whose head is slower by the share that ``cases`` names."""
    rng = np.random.default_rng(seed)
    lines = ["case_id,pair,base,head"]
    for name, loss in cases.items():
        for pair in range(pairs):
            base, head = 100 * np.exp(0.01 * rng.standard_normal(2))
            lines.append(f"{name},{pair},{base},{head * (1 - loss)}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def series_csv(path, shift):
    values = 100 * np.exp(0.01 * np.random.default_rng(1).standard_normal(80))
    values[50:] *= 1 + shift
    rows = [f"decode,{1000 + i},{value}" for i, value in enumerate(values)]
    path.write_text("\n".join(["series_id,index,value", *rows]))
    return str(path)


def test_compare_prints_a_json_line_for_each_case_and_exits_with_1_on_a_regress(tmp_path, capsys):
    file = pairs_csv(tmp_path / "pairs.csv", {"same": 0.0, "slow": 0.05})
    assert main(["compare", "--csv", file, "--json"]) == 1
    same, slow = map(json.loads, capsys.readouterr().out.splitlines())
    assert list(same) == ["case_id", "verdict", "effect", "low", "high", "pairs_used", "p"]
    assert (same["case_id"], same["verdict"], same["pairs_used"]) == ("same", "pass", 10)
    assert (slow["case_id"], slow["verdict"]) == ("slow", "regress")
    assert slow["low"] < -0.05 < slow["high"] < 0


def test_compare_looks_in_the_order_of_pair_not_of_lines(tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    pairs_csv(file, {"slow": 0.03, "same": 0.0})
    main(["compare", "--csv", str(file), "--json"])
    sorted_lines = capsys.readouterr().out
    header, *rows = file.read_text().splitlines()
    np.random.default_rng(3).shuffle(rows)
    rows.sort(key=lambda row: row.startswith("same"))
    file.write_text("\n".join([header, *rows]))
    main(["compare", "--csv", str(file), "--json"])
    assert capsys.readouterr().out == sorted_lines


def test_lower_is_better_turns_a_regress_into_an_improvement(tmp_path, capsys):
    file = pairs_csv(tmp_path / "pairs.csv", {"case": 0.05})
    assert main(["compare", "--csv", file, "--json", "--lower-is-better"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "improve"


def test_an_undecided_case_exits_with_4(tmp_path):
    file = tmp_path / "pairs.csv"
    rows = [f"a,{i},100,{100 * math.exp(0.3 * (-1) ** i)}" for i in range(20)]
    file.write_text("\n".join(["case_id,pair,base,head", *rows]))
    assert main(["compare", "--csv", str(file)]) == 4


def test_too_few_pairs_are_no_verdict(tmp_path, capsys):
    file = pairs_csv(tmp_path / "pairs.csv", {"few": 0.5}, pairs=9)
    assert main(["compare", "--csv", file, "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "case_id": "few",
        "verdict": "invalid",
        "effect": None,
        "low": None,
        "high": None,
        "pairs_used": 9,
        "p": None,
    }
    assert "'few': 9 pairs; record at least 10" in err


def test_a_family_needs_confirmation(tmp_path, capsys):
    file = pairs_csv(tmp_path / "pairs.csv", {"slow": 0.05, "same": 0.0})
    assert main(["compare", "--csv", file, "--json", "--family"]) == 1
    slow, same = map(json.loads, capsys.readouterr().out.splitlines())
    assert (slow["verdict"], slow["pairs_used"]) == ("regress", 20)
    assert (same["verdict"], same["pairs_used"]) == ("pass", 10)


def test_every_problem_of_a_file_is_named_with_its_line(tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    file.write_text(
        "case_id,pair,base,head\n"
        "a,0,1,nan\na,1,0,1\na,2,1,-1\na,x,1,1\na,4,1,one\na,5,1\n,6,1,1\na,7,1,inf\n"
        "a,8,1,1\na,8,1,1\n"
    )
    assert main(["compare", "--csv", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    places = [line.split(": ")[2] for line in err.splitlines()]
    assert places == [f"line {n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 11)]
    assert "pair 8 of 'a' comes twice; keep one of the rows" in err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "columns (none); give exactly case_id,pair,base,head"),
        ("case,pair,a,b\nx,1,1,1\n", "columns case,pair,a,b"),
        ("case_id,pair,base,head,head\na,1,2,3,4", "column 'head' comes twice; keep the one"),
        ("case_id,pair,base,head\n", "no rows"),
        ("case_id,pair,base,head\na,1,\udcff,1\n", "codec can't decode"),
    ],
)
def test_files_that_hold_no_pairs_are_refused(tmp_path, capsys, text, problem):
    file = tmp_path / "pairs.csv"
    file.write_text(text, errors="surrogateescape")
    assert main(["compare", "--csv", str(file)]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("row", ["a,1_0,1,1", "a,1,1_0,1", "a,1.5,1,1", "a,nan,1,1"])
def test_figures_that_need_a_guess_are_refused(tmp_path, capsys, row):
    file = tmp_path / "pairs.csv"
    file.write_text(f"case_id,pair,base,head\n{row}\n")
    assert main(["compare", "--csv", str(file)]) == 2
    assert "line 2: " in capsys.readouterr().err


def test_files_as_spreadsheets_and_pandas_write_them_are_understood(tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    pairs_csv(file, {"slow": 0.05})
    main(["compare", "--csv", str(file), "--json"])
    plain = capsys.readouterr().out
    _, *rows = (line.split(",") for line in file.read_text().splitlines())
    lines = [f'{head},"{case}",{base},{pair}.0' for case, pair, base, head in rows]
    file.write_bytes(("\ufeff\r\nhead,case_id,base,pair\r\n\r\n" + "\r\n".join(lines)).encode())
    assert main(["compare", "--csv", str(file), "--json"]) == 1
    assert capsys.readouterr().out == plain


def test_a_change_that_no_float_holds_is_judged_without_its_figure(tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    rows = [f"up,{i},1e-320,1e308\ndown,{i},1e308,1e-320" for i in range(10)]
    file.write_text("\n".join(["case_id,pair,base,head", *rows]))
    assert main(["compare", "--csv", str(file), "--json"]) == 1
    up, down = map(json.loads, capsys.readouterr().out.splitlines())
    assert (up["verdict"], up["effect"]) == ("improve", None)
    assert (down["verdict"], down["effect"]) == ("regress", -1.0)


def test_ever_so_many_cases_without_a_verdict_are_reported_in_short(tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(["case_id,pair,base,head", *(f"c{i},0,1,1" for i in range(2000))]))
    assert main(["compare", "--csv", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2000
    assert len(err.splitlines()) == 51
    assert "1950 more" in err


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["detect", "--csv", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: file: No such file" in capsys.readouterr().err


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.lists(st.text(max_size=5), max_size=5), max_size=5))
def test_no_text_makes_compare_fail_otherwise(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("any") / "pairs.csv"
    text = "\n".join(",".join(row) for row in rows)
    file.write_text("case_id,pair,base,head\n" + text, errors="replace")
    assert main(["compare", "--csv", str(file)]) == 2


def test_a_file_full_of_errors_is_reported_in_short(tmp_path, capsys):
    file = tmp_path / "pairs.csv"
    file.write_text("case_id,pair,base,head\n" + "a,b,c,d\n" * 2000)
    assert main(["compare", "--csv", str(file)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 51
    assert "1950 more problems" in err[-1]


def test_detect_prints_the_index_of_the_first_point_of_the_new_level(tmp_path, capsys):
    file = series_csv(tmp_path / "series.csv", -0.05)
    assert main(["detect", "--csv", file, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["series_id", "index", "effect", "p"]
    assert (found["series_id"], found["index"]) == ("decode", 1050)
    assert found["effect"] == pytest.approx(-0.05, abs=0.01)


def test_detect_exits_with_1_only_on_a_change_for_the_worse(tmp_path, capsys):
    slower = series_csv(tmp_path / "slower.csv", 0.05)
    assert main(["detect", "--csv", slower]) == 0
    assert "decode   1050" in capsys.readouterr().out
    assert main(["detect", "--csv", slower, "--lower-is-better"]) == 1


def test_detect_says_when_a_series_is_too_short(tmp_path, capsys):
    file = tmp_path / "series.csv"
    file.write_text("series_id,index,value\na,0,1\na,1,2\n")
    assert main(["detect", "--csv", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "'a': 2 points; a change point needs 8" in err


def test_ever_so_many_short_series_are_reported_in_short(tmp_path, capsys):
    file = tmp_path / "series.csv"
    file.write_text("\n".join(["series_id,index,value", *(f"s{i},0,1" for i in range(2000))]))
    assert main(["detect", "--csv", str(file), "--json"]) == 0
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 51
    assert "1950 more" in err


def test_detect_takes_values_of_any_size(tmp_path, capsys):
    file = tmp_path / "series.csv"
    levels = {"tiny": (1e-300, 0.9e-300), "huge": (1e300, 0.9e300), "all": (1e-300, 1e300)}
    rows = [
        f"{n},{i},{new if i > 9 else old}" for n, (old, new) in levels.items() for i in range(20)
    ]
    file.write_text("\n".join(["series_id,index,value", *rows]))
    assert main(["detect", "--csv", str(file), "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["series_id"], one["index"]) for one in found] == [
        ("tiny", 10),
        ("huge", 10),
        ("all", 10),
    ]
    assert found[0]["effect"] == pytest.approx(-0.1)
    assert found[2]["effect"] is None

"""``farm compare-published``: measured against published, and what cannot be."""

from __future__ import annotations

import json

import pytest

from db import beside, queries
from db.engine import open_database
from db.queries import Published
from farm.__main__ import main
from farm.plan import suite


def document(capsys, *arguments):
    assert main(["compare-published", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def row(**changes):
    given = {
        "suite": "mine",
        "source": "a paper",
        "device": "Apple M5 Max",
        "model": "Qwen2.5-7B-8bit",
        "cache": "fp16",
        "benchmark": "decode",
        "context": 512,
        "metric": "generation_tps",
        "kind": "figure",
        "value": 60.0,
        "note": "",
    }
    return Published(**(given | changes))


def test_the_m2_pro_figures_that_rise_with_context_are_flagged(tmp_path, capsys):
    lines = document(capsys, "seed-context-scaling", "--db", str(tmp_path / "farm.db"))
    flagged = {
        (line["device"] or line["suite"], line["context"]): line["doubts"]
        for line in lines
        if line["suite"] == "seed-m2pro-1.5b" and line["cache"] == "fp16"
    }
    assert flagged == {
        ("seed-m2pro-1.5b", 128): [
            "only 29% of the bandwidth",
            "slower than at 4096 tokens, where more is read",
        ],
        ("seed-m2pro-1.5b", 4096): [
            "only 41% of the bandwidth",
            "faster than at 128 tokens, where less is read",
        ],
    }
    assert not [
        line for line in lines if line["suite"] == "seed-context-scaling" and line["doubts"]
    ]


def test_measured_figures_stand_beside_published_ones_with_the_difference(example_database, capsys):
    lines = document(capsys, "seed-context-scaling", "--db", str(example_database))
    first = lines[0]
    assert (first["context"], first["value"], first["cache"]) == (512, 63.6, "fp16")
    assert first["device"] == "Apple M5 Max, 40 GPU cores, 128 GB"
    assert first["difference"] == pytest.approx(first["measured"] / 63.6 - 1)
    ratio = lines[2]
    assert ratio["kind"] == "ratio"
    assert ratio["measured"] == pytest.approx(lines[1]["measured"] / first["measured"])


def test_the_text_says_what_is_flagged_and_how_to_measure(tmp_path, capsys):
    database = str(tmp_path / "farm.db")
    assert main(["compare-published", "seed-qwen3.5-35b-moe", "--db", database]) == 0
    output = capsys.readouterr().out
    assert "suspicious: slower than decode (95.7)" in output
    assert "suspicious: 94.2 is 98.4% of 95.7, not 96%" in output
    assert "farm run --suite seed-qwen3.5-35b-moe" in output


def test_an_unknown_table_is_refused_with_a_suggestion(tmp_path, capsys):
    database = str(tmp_path / "farm.db")
    assert main(["compare-published", "seed-context-scalin", "--db", database]) == 2
    assert "did you mean 'seed-context-scaling'?" in capsys.readouterr().err


def test_more_than_the_bandwidth_allows_is_impossible():
    assert beside.doubts(row(value=100.0), [row(value=100.0)]) == (
        "faster than the bandwidth allows",
    )


def test_a_plausible_figure_has_no_flag():
    assert beside.doubts(row(), [row(), row(context=4096, value=58.0)]) == ()


def test_a_chip_is_not_taken_for_another_whose_name_begins_alike(example_database):
    engine = open_database(str(example_database))
    measured = queries.newest(engine, ["generation_tps"])
    engine.dispose()
    (line,) = beside.set_beside([row(device="Apple M5", model=measured[0].model)], measured)
    assert line.measured is None


def test_every_seed_suite_measures_cells_of_its_published_table(tmp_path):
    engine = open_database(str(tmp_path / "farm.db"))
    rows = queries.published(engine)
    engine.dispose()
    for name in {row.suite for row in rows} & set(suite.names()):
        measured = {
            (cell.model, cell.cache.label if cell.cache else None, cell.benchmark, context)
            for cell in suite.cells(suite.load(name))
            for context in (cell.params.get("context"), None)
        }
        for one in rows:
            if one.suite == name:
                assert (one.model, one.cache, one.benchmark, one.context) in measured

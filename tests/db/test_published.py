"""Published figures: read from tables, stored once, replaced whole."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from db import published, queries
from db.engine import open_database

HEADER = "source,device,model,cache,benchmark,context,metric,kind,value,note"
ROW = "a paper,Apple M9,m,fp16,decode,512,generation_tps,figure,63.6,"


@pytest.fixture
def engine(tmp_path):
    engine = open_database(str(tmp_path / "farm.db"))
    yield engine
    engine.dispose()


def test_a_new_database_holds_every_table_of_the_seed(engine):
    rows = queries.published(engine)
    assert len(rows) == 153
    assert {row.suite for row in rows} == set(published.suites())
    by_metric = {row.metric for row in rows}
    assert {"perplexity", "kl_divergence", "top1_agreement", "needle_accuracy"} <= by_metric
    assert {"prompt_tps", "peak_memory", "kv_bytes", "needle_agreement"} <= by_metric


def test_opening_again_changes_nothing_and_mends_what_differs(tmp_path, engine):
    before = queries.published(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM published WHERE metric = 'perplexity'"))
    open_database(str(tmp_path / "farm.db")).dispose()
    assert queries.published(engine) == before


def test_a_table_replaces_the_suites_old_one_whole(engine):
    first = published.parse("mine", f"{HEADER}\n{ROW}\n")
    others = queries.published(engine)
    with engine.begin() as connection:
        assert published.replace(connection, "mine", first) == 1
        assert published.replace(connection, "mine", first) == 0
        second = published.parse("mine", f"{HEADER}\n{ROW.replace('512', '')}\n")
        published.replace(connection, "mine", second)
    assert set(queries.published(engine)) - set(others) == set(second)
    assert second[0].context is None


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (ROW.replace("63.6", "nan"), "value 'nan' is no finite number"),
        (ROW.replace("63.6", "1e999"), "value '1e999' is no finite number"),
        (ROW.replace("63.6", "fast"), "value 'fast' is no finite number"),
        (ROW.replace("512", "9" * 40), "is no number of tokens"),
        (ROW.replace("512", "-1"), "context '-1' is no number of tokens"),
        (ROW.replace("generation_tps", "tokens/s"), "unknown metric 'tokens/s'"),
        (ROW.replace("figure", "guess"), "unknown kind 'guess'"),
        (ROW.replace("a paper", ""), "source is empty"),
        (f"{ROW}\n{ROW}", "the same figure comes twice"),
        ("a,b", "2 fields"),
        ("", "no figures"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(row, problem):
    with pytest.raises(published.PublishedError, match=problem):
        published.parse("mine", f"{HEADER}\n{row}\n")


def test_all_faults_of_a_table_are_told_at_once():
    bad = [ROW.replace("63.6", "x"), ROW.replace("decode", "")]
    with pytest.raises(published.PublishedError) as error:
        published.parse("mine", "\n".join([HEADER, *bad]))
    assert [fault.place for fault in error.value.faults] == ["line 2", "line 3"]


@given(st.text(), st.lists(st.lists(st.text(max_size=8), max_size=11), max_size=3))
def test_no_text_is_more_than_a_table_or_its_faults(header, rows):
    table = "\n".join([header, *(",".join(row) for row in rows)])
    for text_of_table in (table, f"{HEADER}\n{table}"):
        with suppress(published.PublishedError):
            assert published.parse("mine", text_of_table)

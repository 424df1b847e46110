from db import queries, store
from db.engine import open_database
from db.queries import Description
from example_records import M5_MAX, build, cells, record


def stored(tmp_path, origin=None):
    engine = open_database(str(tmp_path / "farm.db"))
    records = [record(M5_MAX, cell, 0) for cell in list(cells())[:2]]
    store.import_records(engine, records, origin)
    return engine


def test_a_measured_commit_is_described_once_and_anew(tmp_path):
    engine = stored(tmp_path)
    name = str(build(0).commit)
    assert queries.undescribed(engine) == [name]
    for subject in ("Pack tails earlier", "Pack tails much earlier"):
        store.record_commits(engine, [Description(name, subject, "Ada", 1.0, None)])
    assert queries.undescribed(engine) == []
    assert queries.descriptions(engine)[name].subject == "Pack tails much earlier"


def test_commits_that_others_measured_are_not_looked_for_here(tmp_path):
    assert queries.undescribed(stored(tmp_path, "alice")) == []

"""A farm whose every name and reason is markup that would fetch a picture from elsewhere."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from db import queries, store
from db.queries import Description
from db.verdicts import RegressionRow
from example_records import M5_MAX, build, record
from worker.job import Cache, Cell
from worker.record import Failure, Record

EVIL = "evil.example"
MARKUP = (
    f'![i](http://{EVIL}/i.png) <img src="http://{EVIL}/j.png"> [l](http://{EVIL}/) '
    f"https://{EVIL}/bare www.{EVIL} :red[r] $e^x$ `c` *b*\n# h\n" + "y" * 400
)
COMMITS = (str(build(0).commit), str(build(1).commit))


def fill_hostile(engine: Engine) -> None:
    """Store a good, a suspicious and a failed record, a regression, and what commits say."""
    device = replace(M5_MAX, host=MARKUP, chip=MARKUP)
    records = [one for night in (0, 1) for one in _records(device, night)]
    for one in records:
        store.record_run(engine, one.job.run, MARKUP, one.started, [one.job])
        store.record_result(engine, one)
    store.import_records(engine, _imported(device), MARKUP)
    store.record_commits(
        engine, [Description(name, MARKUP, MARKUP, 1.0, f"https://{EVIL})") for name in COMMITS]
    )
    row = next(row for row in queries.newest(engine, ["generation_tps"]))
    series = {"cell": row.cell, "metric": row.metric, "device": row.device, "effect": -0.05}
    for state in ("open", "acknowledged"):
        store.record_regression(
            engine,
            RegressionRow(
                MARKUP, *COMMITS, -0.05, (series,), state=state, author=MARKUP, reason=MARKUP
            ),
        )


def _records(device: object, night: int) -> list[Record]:
    decode, failed, quality = (
        record(device, cell, night, run=f"run {night} {MARKUP}")  # type: ignore[arg-type]
        for cell in _cells()
    )
    failure = Failure(kind="exception", message=MARKUP, remedy=MARKUP, log=MARKUP)
    return [
        decode.model_copy(update={"suspicious": (MARKUP,)}),
        failed.model_copy(update={"status": "failed", "failure": failure, "samples": ()}),
        quality,
    ]


def _cells() -> list[Cell]:
    turbo = Cache(name="turbo", params={"key_bits": 8, "value_bits": 4})
    return [
        Cell(benchmark="decode", model=MARKUP, cache=turbo, params={"context": 512, "x": MARKUP}),
        Cell(benchmark="decode", model=MARKUP, cache=turbo, params={"context": 1024}),
        Cell(benchmark="divergence", model=MARKUP, cache=turbo, params={"context": 512}),
    ]


def _imported(device: object) -> list[Record]:
    one = record(device, _cells()[0], 2, run=f"imported {MARKUP}")  # type: ignore[arg-type]
    return [one]

"""The example farm with subjects of commits, a regression and gates: for pictures of the pages.

``python tests/support/believable_farm.py FILE``
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sqlalchemy import Engine

from db import queries, store
from db.engine import open_database
from db.queries import Description, Newest
from db.verdicts import RegressionRow, VerdictRow
from example_records import FIRST_NIGHT, NIGHT, build, cells, fill
from worker.job import Cell

NIGHTS = 12
SUBJECTS = (
    "Keys centred by a fixed mean",
    "One kernel body for Metal, CUDA and the host",
    "Values unpacked eight at a time",
    "The scale of a vector in fp16",
    "Conformance vectors for odd head sizes",
    "Prefill packs a chunk at once",
    "Fewer launches for short contexts",
    "Attention reads codes in pairs",
    "Tail of a chunk in registers",
    "Masks for sliding windows",
    "Rotation folded into the query",
    "Pack tails earlier",
)


def fill_believable(engine: Engine) -> None:
    """Store nights, what their commits say, and the regression that the last one brought."""
    fill(engine, nights=NIGHTS)
    names = [str(build(night).commit) for night in range(NIGHTS)]
    store.record_commits(
        engine,
        [
            Description(
                name,
                SUBJECTS[night],
                "Ada",
                FIRST_NIGHT + (night - 0.3) * NIGHT,
                f"https://example.org/farm/commit/{name}",
            )
            for night, name in enumerate(names)
        ],
    )
    rows = [
        row
        for row in queries.newest(engine, ["generation_tps"])
        if row.context == 16384 and row.build == build(NIGHTS - 1).hash
    ]
    by_id = {cell.id: cell for cell in cells()}
    night = [_verdict(row, by_id[row.cell], "regress", -0.048, None) for row in rows]
    known = list(_known_gates(rows[0], by_id[rows[0].cell]))
    for verdict in known:
        store.record_run(engine, verdict.run, verdict.run.rpartition("-")[0], FIRST_NIGHT, [])
    store.record_verdicts(engine, [*night, *known])
    series = tuple(
        {"cell": row.cell, "metric": row.metric, "device": row.device, "effect": -0.048}
        for row in rows
    )
    good, bad = names[-2:]
    store.record_regression(
        engine, RegressionRow("main", good, bad, -0.048, series, culprit=bad, confidence=0.98)
    )


def _known_gates(row: Newest, cell: Cell) -> Iterator[VerdictRow]:
    """Yield gates whose answer is known: builds against themselves, and slowed by 5 %."""
    for number in range(40):
        yield _verdict(row, cell, "pass", 0.001, 0.0, run=f"self-aa-{number}")
        yield _verdict(row, cell, "regress", -0.051, 0.05, run=f"self-power-{number}")


def _verdict(
    row: Newest,
    cell: Cell,
    outcome: str,
    effect: float,
    injected: float | None,
    run: str = f"night-{NIGHTS - 1:03d}",
) -> VerdictRow:
    return VerdictRow(
        run=run,
        cell=cell,
        host=row.host,
        device=row.device,
        comparison_key=row.comparison_key,
        metric=row.metric,
        baseline=build(NIGHTS - 2).hash if injected is None else row.build,
        candidate=row.build,
        outcome=outcome,
        effect=effect,
        low=effect - 0.009,
        high=effect + 0.009,
        pairs=15,
        p=1e-5,
        deviation=0.004,
        replaced=0,
        injected=injected,
        note="",
        seed=1,
    )


if __name__ == "__main__":
    fill_believable(open_database(sys.argv[1]))

"""A farm of 50 devices over 400 commits: a million counted samples, for timing the dashboard.

``python tests/support/large_farm.py FILE [COMMITS]`` writes it in bulk, in minutes; the points of
series are made by ``db.rollup`` as always.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, insert

from db import models, rollup, store
from db.engine import open_database
from db.verdicts import RegressionRow, VerdictRow
from example_records import (
    FIRST_NIGHT,
    FP16,
    K4V4,
    MODEL,
    NIGHT,
    Device,
    build,
    record,
)
from worker.job import Cell
from worker.machine.reasons import REASONS
from worker.record import Record

COMMITS = 400
CHIPS = (
    ("Apple M1", 8, 68.25e9, 6.0),
    ("Apple M2 Pro", 19, 200e9, 3.0),
    ("Apple M3 Max", 40, 400e9, 1.5),
    ("Apple M4 Max", 40, 546e9, 1.2),
    ("Apple M5 Max", 40, 614e9, 1.0),
)
MEMORIES = (16, 24, 32, 36, 48, 64, 96, 128, 192, 256)
SLOWED, MENDED = 0.75, 0.9  # share of the commits after which decode is slower, and well again


def devices() -> list[Device]:
    """Return 50 devices; one in ten still has the mlx before."""
    return [
        Device(
            f"mac-{len(MEMORIES) * i + j:02d}",
            chip,
            cores,
            memory,
            bandwidth,
            slowdown,
            mlx="0.31.1" if j == 0 else "0.32.4",
        )
        for i, (chip, cores, bandwidth, slowdown) in enumerate(CHIPS)
        for j, memory in enumerate(MEMORIES)
    ]


def nightly_cells() -> list[Cell]:
    """Return what every night measures: 50 counted samples on each device."""
    decode = [
        Cell(benchmark="decode", model=MODEL, cache=cache, params={"context": context})
        for cache in (FP16, K4V4)
        for context in (1024, 16384)
    ]
    quality = [
        Cell(benchmark=benchmark, model=MODEL, cache=K4V4, params={"context": 4096})
        for benchmark in ("divergence", "needle", "perplexity")
    ]
    return decode + quality


def rare_cells() -> list[Cell]:
    """Return what only the newest commit measures: memory and bandwidth."""
    memory = [
        Cell(benchmark="memory", model=MODEL, cache=cache, params={"context": context})
        for cache in (FP16, K4V4)
        for context in (1024, 16384)
    ]
    return [*memory, Cell(benchmark="bandwidth")]


def write(path: str, commits: int = COMMITS) -> None:
    """Write the whole farm into a new database."""
    engine = open_database(path)
    farm = devices()
    first = [record(farm[0], cell, 0, run="cells") for cell in (*nightly_cells(), *rare_cells())]
    store.record_run(engine, "cells", "nightly", FIRST_NIGHT, [one.job for one in first])
    with engine.begin() as connection:
        numbers = iter(range(1, 10**9))
        for night in range(commits):
            _write_night(connection, list(_night(farm, night, commits)), numbers)
        rollup.rebuild(connection)
    store.record_verdicts(engine, list(_verdicts(farm, commits)))
    for regression in _regressions(farm, commits):
        store.record_regression(engine, regression)
    engine.dispose()


def _night(farm: list[Device], night: int, commits: int) -> Iterator[Record]:
    slowed = SLOWED <= night / commits < MENDED
    cells = nightly_cells() + (rare_cells() if night == commits - 1 else [])
    for device in farm:
        for cell in cells:
            slower = slowed and cell.benchmark == "decode" and cell.cache == K4V4
            yield record(device, cell, night, regressed=slower)


def _write_night(connection: Connection, records: list[Record], numbers: Iterator[int]) -> None:
    jobs = [one.job for one in records]
    started = min(one.started for one in records)
    run = {"id": jobs[0].run, "suite": "nightly", "started": started, "finished": started + 3600}
    connection.execute(insert(models.Run), [run | {"wall": 3600.0}])
    if jobs[0].build != build(0):
        connection.execute(insert(models.Build), [jobs[0].build.model_dump()])
    connection.execute(insert(models.Job), [_job(one, i) for i, one in enumerate(records)])
    rows, samples = [], []
    for one in records:
        number = next(numbers)
        rows.append(_row(one, number))
        samples += [{"record_id": number, **sample.model_dump()} for sample in one.samples]
    connection.execute(insert(models.Record), rows)
    connection.execute(insert(models.Sample), samples)


def _job(one: Record, position: int) -> dict[str, Any]:
    job = one.job
    return {
        "id": job.id,
        "run_id": job.run,
        "position": position,
        "cell_id": job.cell.id,
        "build_hash": job.build.hash,
        "host": job.host,
        "document": json.loads(job.model_dump_json()),
    }


def _row(one: Record, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "job_id": one.job.id,
        "run_id": one.job.run,
        "cell_id": one.job.cell.id,
        "build_hash": one.job.build.hash,
        "host": one.job.host,
        "device": one.environment.device,
        "comparison_key": one.environment.comparison_key,
        "status": one.status,
        "started": one.started,
        "invalid": REASONS.dump_python(one.invalid, mode="json"),
        "document": one.model_dump_json(),
    }


def _verdicts(farm: list[Device], commits: int) -> Iterator[VerdictRow]:
    """Return gates of a build with itself, of injected slowdowns, and of the last commits."""
    cell = nightly_cells()[2]
    for number, device in enumerate(farm * 20):
        injected = (None, 0.0, 0.03)[number % 3]
        night = number * (commits - 1) // (len(farm) * 20)
        regress = bool(injected) and number % 97 != 0
        yield VerdictRow(
            run=f"night-{night:03d}",
            cell=cell,
            host=f"{device.host}-{number}",
            device=device.name,
            comparison_key=device.environment.comparison_key,
            metric="generation_tps",
            baseline=build(night).hash,
            candidate=build(night).hash,
            outcome="regress" if regress else "pass",
            effect=-0.03 if regress else 0.0,
            low=-0.035,
            high=-0.025,
            pairs=10,
            p=0.001 if regress else 0.6,
            deviation=0.006,
            replaced=number % 2,
            injected=injected,
            note="",
            seed=number,
            judged=FIRST_NIGHT + night * NIGHT,
        )


def _regressions(farm: list[Device], commits: int) -> Iterator[RegressionRow]:
    cell = nightly_cells()[2]
    series = tuple(
        {"cell": cell.id, "metric": "generation_tps", "device": device.name, "effect": -0.05}
        for device in farm[:12]
    )
    bad = int(SLOWED * commits)
    good, worse = (str(build(night).commit) for night in (bad - 1, bad))
    found = FIRST_NIGHT + bad * NIGHT
    yield RegressionRow(
        "main", good, worse, -0.048, series, found=found, culprit=worse, confidence=0.98
    )


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else COMMITS)

"""Believable records of a farm that does not exist, for tests and for a look at the dashboard.

Figures follow a roofline: time per token = bytes over achieved bandwidth + what the codec costs.
``python tests/support/example_records.py FILE`` makes a database of some nights.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from db import store
from db.engine import open_database
from worker.job import Build, Cache, Cell, Job
from worker.machine.reasons import Reason
from worker.record import Environment, Failure, Record, Sample

NIGHT = 86_400.0
FIRST_NIGHT = 1_790_000_000.0
CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
MODEL = "mlx-community/Qwen2.5-7B-Instruct-8bit"
WEIGHTS = 7.512e9  # bytes read for each token
KV = 57_344  # bytes for each token of context, fp16

FP16 = Cache(name="fp16")
AFFINE4 = Cache(name="quantized", params={"bits": 4})
ASYMMETRIC = Cache(name="turbo", params={"key_bits": 0, "value_bits": 4})
K8V4 = Cache(name="turbo", params={"key_bits": 8, "value_bits": 4})
K4V4 = Cache(name="turbo", params={"key_bits": 4, "value_bits": 4})


@dataclass(frozen=True)
class Behaviour:
    """What a cache does to a model: bytes kept, time a layer and token adds, and quality."""

    share: float
    seconds: float
    kl: float
    top1: float
    depths_lost: int = 0


CACHES = {
    FP16.label: Behaviour(1.0, 0.0, 0.0, 1.0),
    AFFINE4.label: Behaviour(0.28, 4e-4, 0.061, 0.931, 1),
    ASYMMETRIC.label: Behaviour(0.63, 2e-4, 0.003, 0.981),
    K8V4.label: Behaviour(0.39, 3e-4, 0.004, 0.978),
    K4V4.label: Behaviour(0.27, 3e-4, 0.012, 0.972),
}


@dataclass(frozen=True)
class Device:
    """A machine: ``bandwidth`` in bytes/s by specification, ``slowdown`` multiplies compute."""

    host: str
    chip: str
    gpu_cores: int
    memory: int
    bandwidth: float
    slowdown: float = 1.0
    mlx: str = "0.32.4"
    os_version: str = "26.6.2"

    @property
    def name(self) -> str:
        return f"{self.chip}, {self.gpu_cores} GPU cores, {self.memory} GB"

    @property
    def environment(self) -> Environment:
        facts = {
            "device": self.name,
            "chip": self.chip,
            "gpu_cores": self.gpu_cores,
            "memory": self.memory * 2**30,
            "nominal_bandwidth": self.bandwidth,
            "os": "macOS",
            "os_version": self.os_version,
            "os_build": "25G83",
            "power_source": "ac",
            "power_mode": "automatic",
            "thermal_level": "nominal",
            "gpu_clock": 1398 if "M2" in self.chip else 1620,
            "mlx": self.mlx,
            "mlx_lm": "0.32.2",
            "python_minor": "3.12",
            "swap_used": 0,
            "load": 1.2,
        }
        comparable = ("device", "os", "os_version", "power_source", "power_mode", "mlx", "mlx_lm")
        return Environment(
            facts=facts,
            unknown={"gpu_temperature": "no tool without administrator rights"},
            comparable=comparable,
        )


M2_PRO = Device("mini", "Apple M2 Pro", 19, 32, 200e9, 3.0)
M5_MAX = Device("laptop", "Apple M5 Max", 40, 128, 614e9)
M4_OLD_MLX = Device("studio", "Apple M4 Max", 40, 64, 546e9, 1.2, mlx="0.31.1")
DEVICES = (M2_PRO, M5_MAX, M4_OLD_MLX)


def cells() -> Iterator[Cell]:
    """Return the cells of a night: speed by context, memory, quality, bandwidth."""
    yield Cell(benchmark="bandwidth")
    for cache in (FP16, AFFINE4, ASYMMETRIC, K8V4, K4V4):
        for context in CONTEXTS:
            for benchmark in ("decode", "prefill", "memory"):
                params = {"context": context, "trials": 5} if benchmark != "memory" else {}
                yield Cell(
                    benchmark=benchmark,
                    model=MODEL,
                    cache=cache,
                    params={"context": context, **params},
                )
        for benchmark in ("divergence", "perplexity", "needle"):
            if benchmark != "divergence" or cache != FP16:
                yield Cell(benchmark=benchmark, model=MODEL, cache=cache, params={"context": 4096})


def build(night: int) -> Build:
    """Return the build of a night; every night has a commit."""
    return Build(hash=f"{night:016x}", commit=hashlib.sha1(b"%d" % night).hexdigest())  # noqa: S324  shaped like git's


def record(
    device: Device, cell: Cell, night: int, *, run: str | None = None, regressed: bool = False
) -> Record:
    """Return what ``device`` measures of ``cell`` that night, the same at every call."""
    job = Job(run=run or f"night-{night:03d}", host=device.host, build=build(night), cell=cell)
    chance = random.Random(job.id)  # noqa: S311  repeatable on purpose
    return Record(
        job=job,
        status="ok",
        started=FIRST_NIGHT + night * NIGHT + chance.random() * 3600,
        samples=tuple(_samples(device, cell, chance, 1.05 if regressed else 1.0)),
        environment=device.environment,
        environment_after=device.environment,
        phases={"start": 0.9, "load": 2.1, "measure": 11.0},
        build_hash=job.build.hash,
    )


def failed_record(device: Device, cell: Cell, night: int) -> Record:
    """Return the record of a job that ran out of memory."""
    good = record(device, cell, night)
    failure = Failure(
        kind="memory",
        message="the worker was killed for memory",
        remedy="take a shorter context",
        log="loading\nprefill 2048\nKilled: 9\n",
    )
    return good.model_copy(update={"status": "failed", "failure": failure, "samples": ()})


def fill(engine: Engine, nights: int = 4, devices: tuple[Device, ...] = DEVICES) -> None:
    """Store some nights; the last has one failure, one invalid record and a slower decode."""
    for night in range(nights):
        last = night == nights - 1
        records = [
            record(device, cell, night, regressed=last and cell.benchmark == "decode")
            for device in devices
            for cell in cells()
        ]
        if last:
            records[1] = failed_record(devices[0], records[1].job.cell, night)
            hot = (Reason.of("hot", level="heavy").at("during"),)
            records[2] = records[2].model_copy(update={"invalid": hot})
        jobs = [one.job for one in records]
        begun = FIRST_NIGHT + night * NIGHT
        store.record_run(engine, jobs[0].run, "nightly", begun, jobs)
        for one in records:
            store.record_result(engine, one)
        store.record_wall(engine, jobs[0].run, 3600.0)


def _samples(device: Device, cell: Cell, chance: random.Random, slower: float) -> Iterator[Sample]:
    if cell.cache is None:
        yield from _trials("read_bandwidth", device.bandwidth * 0.80, chance)
        yield from _trials("copy_bandwidth", device.bandwidth * 0.74, chance)
    elif cell.benchmark in {"decode", "prefill"}:
        yield from _speed(device, cell, chance, slower)
    elif cell.benchmark == "needle":
        yield from _needles(cell)
    else:
        for metric, value in _once(cell).items():
            yield Sample(metric=metric, value=value)


def _speed(device: Device, cell: Cell, chance: random.Random, slower: float) -> Iterator[Sample]:
    context, does = _context(cell), _behaviour(cell)
    if cell.benchmark == "prefill":
        yield from _trials("prompt_tps", device.bandwidth / 6e8 / device.slowdown**0.5, chance)
        return
    seconds = (WEIGHTS + KV * does.share * context) / (0.78 * device.bandwidth)
    seconds += does.seconds * device.slowdown * (1 + context / 4096)
    yield from _trials("tpot", seconds * slower, chance)
    yield from _trials("generation_tps", 1 / (seconds * slower), chance)


def _once(cell: Cell) -> dict[str, float]:
    does, kept = _behaviour(cell), KV * _behaviour(cell).share * _context(cell)
    figures: dict[str, dict[str, float]] = {
        "memory": {
            "kv_bytes": round(kept),
            "kv_bytes_claimed": round(kept * 0.99),
            "peak_memory": round(8.1e9 + kept * 1.2),
        },
        "divergence": {
            "kl_divergence": does.kl,
            "top1_agreement": does.top1,
            "logit_cosine": 1 - does.kl / 10,
            "greedy_prefix": round(64 * does.top1**20),
        },
        "perplexity": {"perplexity": 7.41 * (1 + does.kl / 2)},
    }
    return figures[cell.benchmark]


def _needles(cell: Cell) -> Iterator[Sample]:
    lost = DEPTHS[1 : 1 + _behaviour(cell).depths_lost]
    for depth in DEPTHS:
        labels = {"depth": depth, "context": _context(cell)}
        yield Sample(metric="needle_accuracy", value=float(depth not in lost), labels=labels)


def _behaviour(cell: Cell) -> Behaviour:
    assert cell.cache
    return CACHES[cell.cache.label]


def _context(cell: Cell) -> int:
    context = cell.params["context"]
    assert isinstance(context, int)
    return context


def _trials(metric: str, value: float, chance: random.Random) -> Iterator[Sample]:
    between = chance.gauss(1, 0.004)
    yield Sample(metric=metric, value=value * between * 0.93, trial=-1, warmup=True)
    for trial in range(5):
        yield Sample(metric=metric, value=value * between * chance.gauss(1, 0.002), trial=trial)


if __name__ == "__main__":
    fill(open_database(sys.argv[1]), nights=8)

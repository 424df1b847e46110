"""Job in, record out: the one place where a benchmark's exception is caught."""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from worker import build, conformance, registry, suspicion, traffic
from worker.job import Cache, Cell, Job, Order
from worker.machine import energy, readiness
from worker.machine.canary import History
from worker.machine.environment import probe
from worker.machine.watch import Watch
from worker.models import ModelError
from worker.process.awake import awake
from worker.process.journal import Journal
from worker.record import Failure, Record, Sample
from worker.refusal import RefusalError

#: Errors that say all in one sentence; any other is shown with its traceback.
REFUSALS = (
    build.BuildMismatchError,
    ModelError,
    RefusalError,
    registry.UnknownEntryError,
)


def run(order: Order, builds: Path, start: float) -> Record:
    """Measure one cell in this process, with the build of ``builds`` that the job names.

    ``start`` is how many seconds this process took to come here. Never raises for what goes wrong
    in a job: the record then holds the failure, and the samples measured until then.
    """
    job, started = order.job, time.time()
    phases: dict[str, float] = {"start": start}
    samples: list[Sample] = []
    details: dict[str, Any] = {}
    found, failure = None, None
    watch = _watch(job, builds, phases, details)
    journal = Journal(builds.parent / "journals" / f"{job.id}.jsonl")
    try:
        found = build.activate(builds, job.build.hash)
        details["conformance"] = conformance.proved(
            builds / found, builds.parent / "conformance", watch.before.comparison_key
        )
        with awake():
            _measure(job.cell, phases, samples, details, watch, journal)
        journal.discard()
    except Exception as error:  # noqa: BLE001  every failure of a job ends in its record
        failure = _failure(error)
    return Record(
        job=job,
        attempt=order.attempt,
        host=order.host,
        status="failed" if failure else "ok",
        started=started,
        samples=tuple(samples),
        environment=watch.before,
        environment_after=watch.after,
        invalid=watch.reasons(),
        suspicious=suspicion.of_samples(samples, details),
        phases=phases,
        details=details,
        build_hash=found,
        failure=failure,
    )


def _watch(job: Job, builds: Path, phases: dict[str, float], details: dict[str, Any]) -> Watch:
    """Probe the host, and wait until it is ready where its system gives it time to cool down."""
    with _phase(phases, "probe"):
        state = probe()
    canaries = History(builds.parent / "canaries.json", state.comparison_key)
    patience = readiness.patience(platform.system(), job.deadline)
    if patience:
        with _phase(phases, "wait"):
            left = readiness.wait(readiness.looker(probe, canaries), patience)
        details["not_ready"] = [reason.model_dump(mode="json") for reason in left]
        state = probe()
    return Watch(state, canaries, probe)


def _measure(
    cell: Cell,
    phases: dict[str, float],
    samples: list[Sample],
    details: dict[str, Any],
    watch: Watch,
    journal: Journal,
) -> None:
    with _phase(phases, "load"):
        benchmark = registry.load("benchmarks", cell.benchmark)
        entry = registry.entries("benchmarks")[cell.benchmark]
        params = entry.defaults | cell.params
        model, tokenizer = registry.load_model(entry, cell.model) if cell.model else (None, None)
    made: list[list[Any]] = []
    make_cache = _cache_factory(cell.cache, model, made) if cell.cache else None
    with _phase(phases, "canary"):
        watch.start()
    try:
        with _phase(phases, "measure"):
            kept = [journal] if entry.resumable else []
            said = benchmark.run(model, tokenizer, make_cache, *kept, **params)
            measured = _apart(said, details)
            # Only a text model's trial is all that happens between two samples.
            alone = entry.loader == registry.TEXT
            samples.extend(energy.charged(measured, watch.metered, params) if alone else measured)
        if gaps := energy.gaps(watch.metered):
            details["joules_per_token"] = f"unknown where {gaps}"
    finally:
        with _phase(phases, "judge"):
            watch.stop()
    if (used := watch.others_cores) is not None:
        details["others_cores"] = round(used, 3)
    if cell.cache and made:
        details["cache"] = registry.load("caches", cell.cache.name).describe(made[-1])
    nominal = watch.before.facts.get("nominal_bandwidth")
    if entry.loader == registry.TEXT and made and isinstance(nominal, float):
        needed = traffic.bytes_per_token(model, made[-1])
        samples.extend([*traffic.utilization(samples, needed, nominal)])


def _apart(said: Iterable[Any], details: dict[str, Any]) -> Iterator[Sample]:
    """Pass on the samples of a benchmark; what else it says of itself goes into ``details``."""
    for item in said:
        if isinstance(item, Sample):
            yield item
        else:
            details |= item


def _cache_factory(cache: Cache, model: Any, made: list[list[Any]]) -> Callable[[], list[Any]]:
    """Return a maker of caches that leaves the last one made in ``made``."""
    adapter = registry.load("caches", cache.name)
    params = registry.entries("caches")[cache.name].defaults | cache.params

    def make_cache() -> list[Any]:
        made[:] = [adapter.make_cache(model, **params)]
        return made[0]

    return make_cache


@contextmanager
def _phase(phases: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = time.perf_counter() - started


def _failure(error: Exception) -> Failure:
    if isinstance(error, conformance.DeviceFailsError):
        return Failure(kind="wrong", message=str(error))
    if isinstance(error, REFUSALS):
        return Failure(kind="refused", message=str(error))
    if isinstance(error, ValidationError):
        message = "; ".join(found["msg"] for found in error.errors())
        return Failure(kind="exception", message=message, log=traceback.format_exc())
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        return Failure(kind="memory", message=message, remedy="take a shorter context")
    return Failure(kind="exception", message=message, log=traceback.format_exc())

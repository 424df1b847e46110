"""A farm whose noise and truth are known: builds are measured by drawing numbers."""

import zlib
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

import jobs
from worker.job import Build, Cache, Cell, Job
from worker.machine.reasons import Reason
from worker.record import Environment, Failure, Record, Sample

CELL = Cell(
    benchmark="decode", model="reference", cache=Cache(name="turbo"), params={"context": 512}
)
QUALITY = Cell(benchmark="divergence", model="reference", cache=Cache(name="turbo"))


def build(name: str) -> Build:
    return Build(hash=name, commit=name)


@dataclass
class FakeFarm:
    """Measures by drawing; ``speed`` and ``kl`` tell the truth of each build by its hash.

    What is drawn hangs on the job alone and on how often it was measured before, so hosts that
    measure side by side draw the same whoever comes first. A build goes by its hash, or by its
    name of ``names`` where what is hashed holds the time.

    ``broken`` builds fail, ``wrong`` ones their golden vectors; ``unfit`` is the share of records
    with a ``disturbance``. The speed of a host drifts by ``drift`` with every process; the
    qualities of its process ``odd`` are wrong.
    """

    speed: dict[str, float] = field(default_factory=dict)
    kl: dict[str, float] = field(default_factory=dict)
    noise: float = 0.01
    drift: float = 0.0
    odd: int = 0
    unfit: float = 0.0
    disturbance: tuple[Reason, ...] = jobs.BUSY
    broken: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    seed: int = 1
    names: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    turns: Counter[str] = field(default_factory=Counter)

    def __call__(self, build: Build, cell: Cell, repetition: int, host: str = "fake") -> Record:
        job = Job(run="fake", host=host, build=build, cell=cell, repetition=repetition)
        self.jobs.append(job)
        self.turns[host] += 1
        rng = self._drawn(job)
        if build.hash in self.broken:
            failure = Failure(kind="exception", message="ImportError: no such kernel")
            return Record(job=job, status="failed", started=0.0, failure=failure)
        if build.hash in self.wrong:
            failure = Failure(kind="wrong", message="this device fails its golden vectors")
            return Record(job=job, status="failed", started=0.0, failure=failure)
        invalid = self.disturbance if rng.random() < self.unfit else ()
        samples = []
        if cell.benchmark in {"divergence", "both"}:
            samples += self._quality(job)
        if cell.benchmark != "divergence":
            samples += self._speed(job, rng)
        return Record(
            job=job,
            status="ok",
            started=float(len(self.jobs)),
            samples=tuple(samples),
            invalid=invalid,
            environment=Environment(facts={"device": "a fake", "logical_cores": 2}),
            details={"others_cores": 0.25},
            build_hash=build.hash,
        )

    def _drawn(self, job):
        build = self.names.get(job.build.hash, job.build.hash)
        what = f"{job.host} {build} {job.cell.id} {job.repetition}"
        self.turns[what] += 1
        return np.random.default_rng([self.seed, zlib.crc32(what.encode()), self.turns[what]])

    def _speed(self, job, rng):
        wander = self.noise * rng.standard_normal() + self.drift * self.turns[job.host]
        tps = 100 * self.speed.get(job.build.hash, 1.0) * np.exp(wander)
        yield Sample(metric="generation_tps", value=1.0, trial=-1, warmup=True)
        for trial in range(3):
            value = tps * np.exp(0.001 * rng.standard_normal())
            yield Sample(metric="generation_tps", value=value, trial=trial)

    def _quality(self, job):
        odd = self.turns[job.host] == self.odd
        level = self.kl.get(job.build.hash, 0.01) * (2 if odd else 1)
        rng = np.random.default_rng(zlib.crc32(b"text"))
        chunks = level * rng.uniform(0.5, 1.5, 16)
        for trial, value in enumerate(chunks):
            yield Sample(metric="kl", value=value, trial=trial)
        yield Sample(metric="kl_divergence", value=float(chunks.mean()))

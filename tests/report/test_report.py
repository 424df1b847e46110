"""The table at the end of a run."""

from __future__ import annotations

import jobs
from farm.report import run as report
from worker.job import Cache, Cell
from worker.record import Failure, Sample


def of(cache, metric, values, context=512):
    cell = Cell(benchmark="decode", model="m", cache=Cache(name=cache), params={"context": context})
    samples = tuple(Sample(metric=metric, value=v, trial=i) for i, v in enumerate(values))
    return jobs.record(jobs.job(cell=cell)).model_copy(update={"samples": samples})


def test_each_cache_stands_beside_fp16_of_its_context():
    records = [
        of("fp16", "generation_tps", [100, 90, 110]),
        of("turbo", "generation_tps", [50, 50]),
    ]
    lines = report.table(records).splitlines()
    assert lines[0] == "local: m"
    assert lines[2].split() == ["fp16", "100"]
    assert lines[3].split() == ["turbo", "50", "(0.50x)"]


def test_quality_is_the_mean_and_has_no_ratio():
    table = report.table([of("turbo", "needle_accuracy", [1, 1, 0, 1])])
    assert table.splitlines()[-1].split() == ["turbo", "0.75"]


def test_bytes_are_shown_in_megabytes():
    assert "1.50 MB" in report.table([of("fp16", "kv_bytes", [1_500_000])])


def test_warmups_and_failures_are_left_out():
    warm = Sample(metric="generation_tps", value=1.0, warmup=True)
    record = of("fp16", "generation_tps", [10])
    record = record.model_copy(update={"samples": (warm, *record.samples)})
    failed = of("fp16", "generation_tps", [99]).model_copy(update={"status": "failed"})
    assert report.table([record, failed]).splitlines()[-1].split() == ["fp16", "10"]


def test_overhead_is_what_was_not_measured():
    record = jobs.record(phases={"start": 1.0, "measure": 6.0})
    assert "4 s of 10 s (40%)" in report.overhead([record], 10.0)


def test_a_failed_job_is_named_by_its_context_too():
    failure = Failure(kind="deadline", message="not done after 5 s")
    job = jobs.job(cell=Cell(benchmark="memory", params={"context": 512}))
    record = jobs.record(job, status="failed", failure=failure)
    assert report.failure(record) == "failed: local: memory@512: not done after 5 s"


def test_a_failed_job_is_named_with_cause_and_remedy():
    failure = Failure(kind="deadline", message="not done after 5 s", remedy="give it longer")
    record = jobs.record(status="failed", failure=failure)
    assert report.failure(record) == (
        "failed: local: memory turbo: not done after 5 s; give it longer"
    )

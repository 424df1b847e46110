"""The table at the end of a run."""

from __future__ import annotations

import json

import jobs
from farm.report import run as report
from farm.report.figures import Ratio, figures
from worker.job import Build, Cache, Cell
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


SPEED, BYTES = "generation_tps", "kv_bytes"


def round_of(number, fp16, turbo, spoiled=()):
    """Return a round of two caches; those of ``spoiled`` were measured on a busy machine."""
    for cache, value in (("fp16", fp16), ("turbo", turbo)):
        record = of(cache, SPEED, [value])
        job = record.job.model_copy(update={"repetition": number})
        yield record.model_copy(
            update={"job": job, "invalid": jobs.BUSY if cache in spoiled else ()}
        )


def rounds(*some):
    return [record for number, one in enumerate(some) for record in round_of(number, *one)]


def ratio(records):
    (found,) = [one.ratio for one in figures(records) if one.cache == "turbo"]
    return found


def test_a_ratio_of_speeds_is_the_median_of_pairs_measured_side_by_side():
    # The machine halves its speed in the second round: the ratio of medians would be 0.95.
    records = rounds((100, 90), (50, 44), (100, 95))
    assert ratio(records) == Ratio(0.9, 0.88, 0.95, 3, counts=True)
    assert "(0.90x, 0.88 to 0.95)" in report.table(records)


def test_pairs_that_count_make_the_ratio_and_the_others_do_not():
    both = ("fp16", "turbo")
    found = ratio(rounds((100, 90), (100, 10, both), (100, 20, ["turbo"]), (100, 30, ["fp16"])))
    assert found == Ratio(0.9, 0.9, 0.9, 1, counts=True)


def test_no_ratio_is_made_of_a_figure_that_counts_and_one_that_does_not():
    records = rounds((100, 90, ["turbo"]), (100, 90, ["fp16"]))
    assert ratio(records) is None


def test_what_does_not_count_is_marked_in_its_cell_and_in_words():
    both = ("fp16", "turbo")
    records = rounds((100, 90, both), (100, 92, both))
    table = report.table(records)
    assert table.splitlines()[3].split() == ["turbo", "91*", "(0.91x*,", "0.90", "to", "0.92)"]
    assert table.splitlines()[-1] == "* does not count"
    (line,) = report.doubts(records)
    assert line.startswith("not counted: generation_tps of 4 of 4 jobs, busy (first: other proc")
    assert line.endswith("cores). To do: close what else runs on the machine.")


def test_bytes_of_a_busy_machine_count_and_have_a_ratio_without_an_interval():
    records = [
        of(cache, BYTES, [value]).model_copy(update={"invalid": jobs.BUSY})
        for cache, value in (("fp16", 4_000_000), ("turbo", 1_000_000))
    ]
    assert report.table(records).splitlines()[-1].split() == ["turbo", "1.00", "MB", "(0.25x)"]
    assert report.doubts(records) == []


def test_builds_and_parameters_are_kept_apart():
    ours = of("turbo", SPEED, [90])
    parent = ours.job.model_copy(update={"build": Build(hash="1" * 16)})
    other = Cell(**ours.job.cell.model_dump() | {"params": {"context": 512, "tokens": 8}})
    records = [
        of("fp16", SPEED, [100]),
        ours.model_copy(update={"job": parent}),
        of("turbo", SPEED, [50]).model_copy(update={"job": jobs.job(cell=other)}),
    ]
    assert [one.ratio for one in figures(records)] == [None, None, None]
    table = report.table(records)
    assert "local: m, build 1111111111111111" in table
    assert "generation_tps@512 (tokens=8)" in table


def test_the_summary_for_programs_says_the_same():
    both = ("fp16", "turbo")
    document = json.loads(json.dumps(report.summary(rounds((100, 90, both)))))
    turbo = document["figures"][1]
    assert (turbo["value"], turbo["counts"], turbo["ratio"]["counts"]) == (90, False, False)
    (reason,) = document["not_counted"]
    assert (reason["kind"], reason["spoiled"], reason["jobs"]) == ("busy", 2, 2)


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

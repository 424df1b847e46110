import jobs
from farm.campaign.reruns import again
from farm.report.figures import figures
from worker.job import Cache, Cell
from worker.machine.reasons import Reason
from worker.record import Failure, Sample

BUSY = jobs.BUSY
ON_BATTERY = (Reason.of("on battery", source="battery"),)


def speed(cache, round_=0, **changes):
    cell = Cell(benchmark="decode", model="m", cache=Cache(name=cache), params={"context": 512})
    return jobs.record(jobs.job(cell=cell, repetition=round_), **changes)


def again_of(*records):
    return [(job.cell.cache.name, job.repetition) for job in again(records, records)]


def test_a_disturbed_job_is_measured_again_as_the_next_repetition_of_its_cell():
    assert again_of(speed("turbo", 0), speed("turbo", 1, invalid=BUSY)) == [("turbo", 2)]


def test_neither_a_failure_nor_a_host_on_battery_is_mended_by_another_try():
    failure = Failure(kind="crash", message="gone")
    failed = speed("turbo", status="failed", invalid=BUSY, failure=failure)
    assert again_of(failed, speed("fp16", 1, invalid=ON_BATTERY)) == []


def test_bytes_and_quality_are_not_measured_again_for_a_busy_machine():
    samples = tuple(Sample(metric=metric, value=1.0) for metric in ("kv_bytes", "perplexity"))
    assert again_of(speed("turbo", invalid=BUSY).model_copy(update={"samples": samples})) == []


def test_a_speed_is_measured_again_beside_the_fp16_that_it_is_compared_with():
    round_ = [speed("fp16"), speed("turbo", invalid=BUSY), speed("quantized")]
    assert again_of(*round_) == [("fp16", 1), ("turbo", 1)]


def test_with_fp16_all_that_was_compared_with_it_is_measured_again():
    round_ = [speed("turbo"), speed("fp16", invalid=BUSY), speed("quantized")]
    assert again_of(*round_) == [("turbo", 1), ("fp16", 1), ("quantized", 1)]


def test_each_disturbed_round_is_a_round_of_its_own_after_all_that_were():
    rounds = [
        speed(cache, number, invalid=invalid)
        for number, invalid in enumerate([BUSY, (), BUSY])
        for cache in ("fp16", "turbo")
    ]
    assert again_of(*rounds) == [("fp16", 3), ("turbo", 3), ("fp16", 4), ("turbo", 4)]


def test_rounds_of_an_interrupted_run_are_not_asked_for_twice():
    before = [speed("turbo", 1), speed("turbo", 2)]
    late = speed("turbo", 0, invalid=BUSY)
    assert [job.repetition for job in again([late], [*before, late])] == [3]


def test_a_spoiled_figure_is_not_pooled_with_one_that_counts():
    spoiled, good = speed("turbo", 0, invalid=BUSY, values=(1.0,)), speed("turbo", 1, values=(9.0,))
    assert [(one.value, one.counts) for one in figures([spoiled, good])] == [(9.0, True)]
    assert [(one.value, one.counts) for one in figures([spoiled])] == [(1.0, False)]

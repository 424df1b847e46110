import jobs
from farm.campaign.reruns import again
from farm.report import run as report
from farm.report.run import counted
from worker.job import Cell
from worker.machine.reasons import Reason
from worker.record import Failure, Sample

BUSY = jobs.BUSY
ON_BATTERY = (Reason.of("on battery", source="battery"),)


def test_a_disturbed_job_is_measured_again_as_the_next_repetition_of_its_cell():
    good, spoiled = jobs.record(), jobs.record(invalid=BUSY)
    (job,) = again([good, spoiled])
    assert job.repetition == spoiled.job.repetition + 1
    assert job.id != spoiled.job.id
    assert job.cell == spoiled.job.cell


def test_neither_a_failure_nor_a_host_on_battery_is_mended_by_another_try():
    failed = jobs.record(
        status="failed", invalid=BUSY, failure=Failure(kind="crash", message="gone")
    )
    assert again([failed, jobs.record(invalid=ON_BATTERY)]) == []


def test_bytes_and_quality_are_not_measured_again_for_a_busy_machine():
    samples = tuple(Sample(metric=metric, value=1.0) for metric in ("kv_bytes", "perplexity"))
    job = jobs.job(cell=Cell(benchmark="memory"))
    assert again([jobs.record(job, invalid=BUSY).model_copy(update={"samples": samples})]) == []


def test_a_spoiled_record_does_not_count_beside_a_good_one_of_its_cell():
    spoiled = jobs.record(invalid=BUSY, values=(1.0,))
    (job,) = again([spoiled])
    good = jobs.record(job, values=(9.0,))
    assert counted([spoiled, good]) == [good]
    assert counted([spoiled]) == [spoiled]
    assert [figure.value for figure in report.figures([spoiled, good])] == [9.0]

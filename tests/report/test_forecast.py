"""An estimate is there from the first second, and follows what was measured."""

from __future__ import annotations

import jobs
from farm.report.forecast import GUESS, Forecast, clock
from worker.job import Cell

CELL, OTHER = Cell(benchmark="decode"), Cell(benchmark="prefill")


def done(cell, seconds, host="local"):
    return jobs.record(jobs.job(cell=cell, host=host), phases={"measure": seconds})


def test_without_any_record_each_job_is_guessed():
    forecast = Forecast({})
    forecast.plan("local", [CELL] * 3)
    assert forecast.left == 3 * GUESS


def test_the_slowest_host_decides():
    forecast = Forecast({(CELL.id, "mini"): 20.0, (CELL.id, "local"): 4.0})
    forecast.plan("mini", [CELL] * 2)
    forecast.plan("local", [CELL] * 3)
    assert forecast.text == "about 0:40 left"


def test_a_run_that_is_slower_than_expected_takes_longer_for_the_rest_too():
    forecast = Forecast({(CELL.id, "local"): 4.0, (OTHER.id, "local"): 6.0})
    forecast.plan("local", [CELL, OTHER])
    forecast.done(done(CELL, 8.0))
    assert forecast.left == 12.0


def test_what_was_never_measured_takes_the_mean_of_the_others():
    forecast = Forecast({(CELL.id, "local"): 4.0})
    forecast.plan("local", [OTHER])
    assert forecast.left == 4.0


def test_a_duration_is_written_in_minutes_and_seconds():
    assert clock(260.4) == "4:20"

"""An estimate is there from the first second, and follows what was measured."""

from __future__ import annotations

import pytest

import jobs
from farm.report.forecast import Forecast, clock
from worker import registry
from worker.job import Cell

CELL, OTHER = Cell(benchmark="decode"), Cell(benchmark="prefill")


def done(cell, seconds, host="local"):
    return jobs.record(jobs.job(cell=cell, host=host), phases={"measure": seconds})


def test_without_any_record_each_benchmark_says_how_long_it_takes():
    forecast = Forecast({})
    bandwidth = Cell(benchmark="bandwidth")
    forecast.plan("local", [CELL] * 3 + [bandwidth])
    said = registry.entries("benchmarks")
    assert forecast.left == 3 * said["decode"].seconds + said["bandwidth"].seconds
    assert said["bandwidth"].seconds > said["decode"].seconds


def test_the_slowest_host_decides():
    forecast = Forecast({(CELL.id, "mini"): 20.0, (CELL.id, "local"): 4.0})
    forecast.plan("mini", [CELL] * 2)
    forecast.plan("local", [CELL] * 3)
    assert forecast.text == "about 0:40 left"


def test_the_first_job_alone_changes_little_and_many_that_are_slower_the_whole():
    forecast = Forecast({(CELL.id, "local"): 4.0, (OTHER.id, "local"): 6.0})
    forecast.plan("local", [CELL] * 100 + [OTHER])
    forecast.done(done(CELL, 8.0))
    assert forecast.left < 1.2 * (99 * 4.0 + 6.0)
    for _ in range(99):
        forecast.done(done(CELL, 8.0))
    assert forecast.left == pytest.approx(12.0, rel=0.05)


def test_what_was_never_measured_takes_what_its_benchmark_took_on_that_host():
    forecast = Forecast({(CELL.id, "local"): 4.0}, {("prefill", "local"): 7.0})
    forecast.plan("local", [OTHER, CELL])
    assert forecast.left == 11.0


def test_a_duration_is_written_in_minutes_and_seconds():
    assert clock(260.4) == "4:20"

"""A meter beside a job gives joules per token; no meter, or too few readings, gives nothing."""

from __future__ import annotations

import sys

import pytest

from worker.machine.energy import Meter, Reading, charged, gaps, joules, metered, of_clocks
from worker.machine.environment import macmon
from worker.record import Sample

LINE = '{"all_power": 20.0, "gpu_freq_mhz": 1398, "gpu_active_ratio": 0.95}'


def readings(*clocks: float, power: float = 20.0, active: float = 0.95) -> list[Reading]:
    return [
        Reading(float(second), power, {"gpu_clock": clock, "gpu_active_ratio": active})
        for second, clock in enumerate(clocks)
    ]


def test_energy_is_mean_power_times_time():
    assert joules(readings(1.0, 1.0, 1.0, 1.0), 0.0, 3.0) == 60.0


def test_a_trial_with_too_few_readings_has_no_energy():
    assert joules(readings(1.0, 1.0, 1.0, 1.0), 0.5, 2.5) is None
    assert joules([], 0.0, 3.0) is None


def test_a_meter_that_breaks_off_gives_no_energy_of_that_trial():
    broken = [*readings(1.0, 1.0, 1.0), Reading(3.0, None, {}), Reading(4.0, 20.0, {})]
    assert joules(broken, 0.0, 2.5) == 50.0
    assert joules(broken, 0.0, 4.5) is None
    assert gaps(broken) == "the meter gave no power that can be in 1 of 5 readings"
    assert gaps(readings(1.0)) == ""


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace('{"all', '{"cpu_power": 0.0, "all'),
        LINE.replace("20.0", "40089.36"),
        LINE.replace("20.0", "0.0"),
        LINE.replace('{"all', '{"timestamp": "2026-07-13T02:28:40+00:00", "all'),
    ],
)
def test_a_broken_meters_lines_have_no_power(line):
    with metered((printing(line, macmon.time),)) as found:
        while not found:
            pass
    assert found[0].power is None


def printing(line: str, said=lambda _: None) -> Meter:
    script = f"import time\nwhile True:\n    print({line!r}, flush=True)\n    time.sleep(0.01)"
    return Meter((sys.executable, "-c", script), macmon.parse, "chip_power", said)


def test_each_trial_is_charged_by_its_tokens():
    now = [0.0]

    def benchmark():
        now[0] += 30.0
        yield Sample(metric="generation_tps", value=9.0, trial=-1, warmup=True)
        now[0] += 5.0
        yield Sample(metric="generation_tps", value=10.0, trial=0)
        yield Sample(metric="tpot", value=0.1, trial=0)

    steady = [Reading(float(second), 20.0, {}) for second in range(40)]
    found = list(charged(benchmark(), steady, {"tokens": 10}, clock=lambda: now[0]))
    energy = [sample for sample in found if sample.metric == "joules_per_token"]
    assert [(sample.trial, sample.warmup) for sample in energy] == [(-1, True), (0, False)]
    assert energy[-1].value == pytest.approx(20.0 * 5.0 / 10)
    assert [sample.metric for sample in found if sample.metric != "joules_per_token"] == [
        "generation_tps",
        "generation_tps",
        "tpot",
    ]


def test_without_a_meter_samples_pass_unchanged():
    with metered((Meter(("no-such-meter",), macmon.parse, "chip_power"),)) as found:
        assert found == []
    sample = Sample(metric="generation_tps", value=9.0)
    assert list(charged([sample], [], {"tokens": 10})) == [sample]


def test_a_meter_is_read_line_by_line_and_ended_with_the_job():
    script = f"import time\nwhile True:\n    print('junk')\n    print('{LINE}', flush=True)"
    meter = Meter((sys.executable, "-c", script), macmon.parse, "chip_power")
    with metered((meter,)) as found:
        while len(found) < 3:
            pass
    assert found[0].power == 20.0
    assert found[0].facts["gpu_clock"] == 1398.0


def test_a_gpu_clock_that_falls_for_good_is_named():
    (reason,) = of_clocks(readings(1368.0, 1368.0, 743.0, 743.0))
    assert reason.sentence == "the GPU clock fell from 1368 to 743 MHz"


def test_a_dip_a_ramp_and_an_idle_gpu_are_no_fall():
    assert list(of_clocks(readings(1368.0, 743.0, 1368.0))) == []
    assert list(of_clocks(readings(400.0, 1368.0, 1368.0))) == []
    assert list(of_clocks(readings(1368.0, 444.0, 444.0, active=0.1))) == []

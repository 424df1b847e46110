"""Disturbances are named; what a quiet or unknown machine shows is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines import GIB, MEMORY, QUIET, later, state
from worker.machine import canary
from worker.machine.canary import History
from worker.machine.disturbances import of_moments, of_states
from worker.machine.readings import Moment, read
from worker.machine.reasons import Reason
from worker.machine.watch import Watch
from worker.record import Environment


def job(seconds: float = 4.0, **disturbance: float) -> list[Moment]:
    """Sample a job; the disturbance happens between two samples in its middle."""
    moments = [QUIET]
    for step in range(int(seconds / 0.25)):
        changes = disturbance if step == 4 else {}
        moments.append(later(moments[-1], 0.25, **changes))
    return moments


def judged(moments: list[Moment]) -> list[str]:
    return told(of_moments(moments, cores=8, memory=MEMORY))


def told(reasons: Iterable[Reason]) -> list[str]:
    return [reason.sentence for reason in reasons]


def test_a_quiet_job_is_valid():
    assert judged(job()) == []
    assert told(of_states(state(), [], state())) == []


@pytest.mark.parametrize(
    ("disturbance", "reason"),
    [
        ({"wall": 3600.0}, "the clock jumped by +3600.00 s, or the machine slept"),
        ({"wall": -0.5}, "the clock jumped by -0.50 s, or the machine slept"),
        ({"monotonic": 5.0, "wall": 5.0}, "the process stood still for 5.00 s"),
        ({"busy": 8.0}, "other processes used 2.00 cores"),
        ({"busy": 3.0}, "other processes used 3.00 cores for a second"),
        ({"stolen": 2.0}, "the hypervisor took 0.50 cores"),
        ({"swap_used": 2**30}, "swap grew by 1024 MiB"),
        ({"available": -8 * GIB}, "only 0 MiB of memory were left"),
        ({"stalled": 0.5}, "waited for memory for 0.50 s"),
        ({"refused": 3}, "at its memory limit 3 times"),
    ],
)
def test_a_disturbance_is_named(disturbance, reason):
    assert judged(job(**disturbance)) == [reason]


def test_a_busy_interpreter_that_delays_the_sampler_is_no_standstill():
    assert judged([QUIET, later(QUIET, 3.0), later(later(QUIET, 3.0), 0.25)]) == []


def test_a_job_too_short_for_the_kernels_ticks_is_not_judged_by_processor_use():
    assert judged([QUIET, later(QUIET, 0.05, busy=0.02)]) == []


def test_a_system_that_does_not_tell_of_memory_waits_is_not_judged_by_them():
    silent = replace(QUIET, stalled=None, refused=None)
    assert judged([silent, later(silent, 1.0)]) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"power_mode": "low"}, "power_mode changed from high to low"),
        ({"power_source": "battery"}, "on battery power after the job"),
        ({"thermal_level": "heavy"}, "thermal level heavy after the job"),
        ({"memory_pressure": "critical"}, "memory pressure critical after the job"),
        ({"priority": 20}, "throttled to priority 20 after the job"),
        ({"time_machine_cpu": 1.5}, "Time Machine used 1.5 cores after the job"),
    ],
)
def test_a_host_that_changes_during_the_job_is_named(changes, reason):
    assert reason in told(of_states(state(), [], state(**changes)))


def test_a_gpu_in_use_before_the_job_is_named_and_our_own_use_after_it_is_not():
    assert told(of_states(state(gpu_utilization=0.4), [], state())) == [
        "another process used the GPU to 40% before the job"
    ]
    assert told(of_states(state(), [], state(gpu_utilization=0.98))) == []


def test_heat_that_comes_and_goes_during_the_job_is_named_once():
    hot = Environment(facts={"thermal_level": "moderate"})
    assert told(of_states(state(), [hot, hot, Environment()], state())) == [
        "thermal level moderate during the job"
    ]


def test_unknown_facts_are_no_reason():
    assert told(of_states(Environment(), [], Environment())) == []


class Clockwork:
    """A machine whose readings advance by themselves, and whose canary sings as told."""

    def __init__(self, *songs: float) -> None:
        self.moment = QUIET
        self.songs = list(songs)
        self.slept: list[float] = []

    def reading(self) -> Moment:
        self.moment = later(self.moment, 0.25)
        return self.moment

    def measure(self) -> dict[str, float]:
        return {"product": self.songs.pop(0)}


def watched(tmp_path, *songs: float, after: Environment | None = None) -> list[str]:
    machine = Clockwork(*songs)
    history = History(tmp_path / "canaries.json", "a configuration")
    watch = Watch(
        state(),
        history,
        lambda: after or state(),
        reading=machine.reading,
        measure=machine.measure,
        sleep=machine.slept.append,
    )
    watch.start()
    watch.stop()
    assert machine.songs == []
    return told(watch.reasons())


def test_a_canary_out_of_the_hosts_band_rejects(tmp_path):
    for _ in range(5):
        assert watched(tmp_path, 1.0, 1.01) == []
    assert watched(tmp_path, 1.0, 1.6, 1.5) == [
        "canary product took 1.50 times the host's best after the job"
    ]


def test_one_slow_moment_of_a_canary_is_no_reason(tmp_path):
    for _ in range(5):
        assert watched(tmp_path, 1.0, 1.01) == []
    assert watched(tmp_path, 1.5, 1.02, 1.3, 1.0) == []


def test_a_reading_taken_again_does_not_narrow_the_band(tmp_path):
    for _ in range(5):
        assert watched(tmp_path, 1.0, 1.01) == []
    assert watched(tmp_path, 1.4, 0.5, 1.0) == []
    kept = History(tmp_path / "canaries.json", "a configuration").readings()
    assert {"product": 1.4} in kept
    assert {"product": 0.5} not in kept


def test_a_band_follows_the_hosts_own_spread():
    quiet, loud = [1.0 + 0.001 * i for i in range(20)], [1.0 + 0.005 * i for i in range(20)]
    assert canary.band(quiet) == canary.NARROWEST
    assert canary.NARROWEST < canary.band(loud) < canary.WIDEST
    assert canary.band([1.0]) == canary.WIDEST


def test_readings_of_another_configuration_do_not_count(tmp_path):
    History(tmp_path / "file", "low power").add({"product": 9.0})
    assert History(tmp_path / "file", "high power").readings() == []


@given(spoiled=st.text(max_size=40))
def test_a_spoiled_history_starts_anew(tmp_path_factory, spoiled):
    path = tmp_path_factory.mktemp("history") / "file"
    path.write_text(spoiled)
    history = History(path, "here")
    history.add({"product": 1.0})
    assert history.readings()[-1] == {"product": 1.0}


def test_a_host_that_loses_power_during_the_job_is_invalid(tmp_path):
    reasons = watched(tmp_path, 1.0, 1.0, after=state(power_source="battery"))
    assert "power_source changed from ac to battery" in reasons


def test_the_canary_and_the_reading_work_here():
    readings = canary.measure()
    assert readings.keys() == {"product", "stream"}
    assert all(seconds > 0 for seconds in readings.values())
    moment = read()
    assert moment.busy > 0
    assert moment.available > 0

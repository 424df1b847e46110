"""What disturbed a job, found in the facts and the readings of its machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from worker.machine.environment.processes import THROTTLED_PRIORITY
from worker.machine.limits import GPU_IDLE, OTHERS_CORES, OTHERS_SHARE
from worker.machine.readings import INTERVAL, Moment
from worker.machine.reasons import Reason
from worker.record import Environment

MIB = 2**20

#: The same over any second, for a disturbance that is short beside the job.
BURST_CORES = 0.5
BURST_SHARE = 0.25
BURST = 1.0
STOLEN_SHARE = 0.02
# Shorter than this the kernel's ticks of 10 ms say nothing about processor use.
JUDGED = 0.2
#: The longest that the sampler may be late without processor time of our own, in seconds.
STOPPED = 0.5
#: How far wall and monotonic clock may part: a step, and a share of the time between.
CLOCK_STEP = 0.05
CLOCK_DRIFT = 0.001
SWAP_GROWTH = 16 * MIB
LEAST_AVAILABLE = 0.02
STALLED_SHARE = 0.01
BACKGROUND_CORES = 0.5


def of_states(
    before: Environment, during: Sequence[Environment], after: Environment
) -> Iterator[Reason]:
    """Judge the facts before, during and after a job; each reason is given once."""
    last = dict(before.facts)
    for state in (*during, after):
        for name in before.comparable:
            value = state.facts.get(name, last.get(name))
            if name in last and value != last[name]:
                yield Reason.of("changed", fact=name, before=str(last[name]), after=str(value))
        last |= state.facts
    told: list[Reason] = []
    for when, state in (("before", before), *(("during", s) for s in during), ("after", after)):
        for reason in of_state(state):
            if reason not in told:
                told.append(reason)
                yield reason.at(when)
    utilization = before.facts.get("gpu_utilization")
    if isinstance(utilization, float) and utilization > GPU_IDLE:
        yield Reason.of("GPU in use", share=utilization).at("before")


def of_state(state: Environment) -> Iterator[Reason]:
    """Tell what is wrong with a host as it is; an unknown fact is not wrong."""
    facts = state.facts
    if (source := facts.get("power_source")) in {"battery", "ups"}:
        yield Reason.of("on battery", source=str(source))
    if facts.get("power_mode") == "low":
        yield Reason.of("low power")
    if (level := facts.get("thermal_level", "nominal")) != "nominal":
        yield Reason.of("hot", level=str(level))
    if (level := facts.get("memory_pressure", "normal")) != "normal":
        yield Reason.of("memory pressure", level=str(level))
    priority = facts.get("priority")
    if facts.get("os") == "macOS" and isinstance(priority, int) and priority <= THROTTLED_PRIORITY:
        yield Reason.of("throttled", priority=priority)
    for name, activity in (("spotlight_cpu", "Spotlight"), ("time_machine_cpu", "Time Machine")):
        cores = facts.get(name)
        if isinstance(cores, float) and cores > BACKGROUND_CORES:
            yield Reason.of("background work", activity=activity, cores=cores)
    if facts.get("mlx_device") == "Apple Paravirtual device":
        yield Reason.of("virtual machine")


def of_moments(moments: Sequence[Moment], cores: int, memory: int) -> Iterator[Reason]:
    """Judge what was sampled during a job; ``memory`` is that of the machine, in bytes.

    A job that failed before its timed part has no moments.
    """
    if not moments:
        return
    for earlier, later in pairwise(moments):
        yield from _clocks(earlier, later)
    first, last = moments[0], moments[-1]
    yield from _processors(moments, cores)
    if last.swap_used - first.swap_used > SWAP_GROWTH:
        yield Reason.of("swapped", mebibytes=(last.swap_used - first.swap_used) / MIB)
    least = min(moment.available for moment in moments)
    if least < LEAST_AVAILABLE * memory:
        yield Reason.of("little memory", mebibytes=least / MIB)
    elapsed = last.monotonic - first.monotonic
    if first.stalled is not None and last.stalled is not None:
        stalled = last.stalled - first.stalled
        if stalled > STALLED_SHARE * elapsed:
            yield Reason.of("waited for memory", seconds=stalled)
    if first.refused is not None and last.refused is not None and last.refused > first.refused:
        yield Reason.of("at its memory limit", times=last.refused - first.refused)


def _clocks(earlier: Moment, later: Moment) -> Iterator[Reason]:
    """Compare the clocks of two readings in a row."""
    elapsed = later.monotonic - earlier.monotonic
    step = later.wall - earlier.wall - elapsed
    if abs(step) > CLOCK_STEP + CLOCK_DRIFT * elapsed:
        yield Reason.of("clock jumped", seconds=step)
    late = elapsed - INTERVAL
    # A busy interpreter delays the sampler too, but it uses processor time meanwhile.
    if late > STOPPED and later.own - earlier.own < elapsed / 2:
        yield Reason.of("stood still", seconds=late)


def _processors(moments: Sequence[Moment], cores: int) -> Iterator[Reason]:
    """Compare the machine's processor time to our own: all the time, and over any second."""
    first, last = moments[0], moments[-1]
    elapsed = last.monotonic - first.monotonic
    if elapsed < JUDGED:
        return
    if (last.stolen - first.stolen) / elapsed > STOLEN_SHARE * cores:
        yield Reason.of("stolen", cores=(last.stolen - first.stolen) / elapsed)
    if reasons := overused(first, last, cores):
        yield from reasons
        return
    burst = max(map(others, *_windows(moments)), default=0.0)
    if burst > max(BURST_CORES, BURST_SHARE * cores):
        yield Reason.of("busy for a second", cores=burst)


def overused(first: Moment, last: Moment, cores: int) -> list[Reason]:
    """Tell if other processes used too much processor between two readings."""
    used = others(first, last)
    too_much = used > max(OTHERS_CORES, OTHERS_SHARE * cores)
    return [Reason.of("busy", cores=used)] if too_much else []


def others(first: Moment, last: Moment) -> float:
    """Return the cores that other processes used between two readings."""
    busy, own = last.busy - first.busy, last.own - first.own
    return (busy - own) / (last.monotonic - first.monotonic)


def others_all_the_time(moments: Sequence[Moment]) -> float | None:
    """Return the same from the first reading to the last; None where they are too close."""
    if not moments or moments[-1].monotonic - moments[0].monotonic < JUDGED:
        return None
    return max(others(moments[0], moments[-1]), 0.0)


def _windows(moments: Sequence[Moment]) -> tuple[list[Moment], list[Moment]]:
    """Return first and last readings of the shortest windows of at least a second."""
    firsts, lasts = [], []
    for index, first in enumerate(moments):
        for last in moments[index + 1 :]:
            if last.monotonic - first.monotonic >= BURST:
                firsts.append(first)
                lasts.append(last)
                break
    return firsts, lasts

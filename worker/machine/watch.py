"""Whether a job's figures count: the machine before, during and after it, and its canaries.

A reason makes the record invalid: its samples are kept, and never compared. What is unknown is no
reason; the record lists it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise

from worker.machine import canary
from worker.machine.canary import History, Readings
from worker.machine.energy import Reading, metered, of_clocks
from worker.machine.environment import probe_often
from worker.machine.environment.processes import THROTTLED_PRIORITY
from worker.machine.limits import GPU_IDLE, OTHERS_CORES, OTHERS_SHARE
from worker.machine.readings import INTERVAL, Moment, Sampler, read
from worker.record import Environment

MIB = 2**20

#: Seconds between the few facts that need a command and are asked for during a job; on a Mac two
#: commands of 10 ms, so 0.2 % of a core.
OFTEN = 10.0

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


class Watch:
    """The machine around one job: ``start`` before the timed part, ``stop`` after it.

    ``probe``, ``reading``, ``measure`` and ``sleep`` are the slow edge and may be replaced.
    """

    def __init__(
        self,
        before: Environment,
        history: History,
        probe: Callable[[], Environment],
        *,
        often: Callable[[], Environment] = probe_often,
        reading: Callable[[], Moment] = read,
        measure: Callable[[], Readings] = canary.measure,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.before = before
        self.after = Environment()
        #: What an energy meter says while the job is timed, if there is one.
        self.metered: list[Reading] = []
        self._history = history
        self._probe = probe
        self._measure = measure
        self._sleep = sleep
        self._reading = reading
        self._moments: list[Moment] = []
        self._states = Sampler(often, OFTEN)
        self._sampler = Sampler(reading, INTERVAL)
        self._running = ExitStack()
        self._canaries: list[str] = []

    def start(self) -> None:
        """Time the canary and begin to sample."""
        self._sing("before")
        self.metered = self._running.enter_context(metered())
        self._moments.append(self._reading())
        self._states.start()
        self._sampler.start()

    def stop(self) -> None:
        """End sampling, time the canary again and probe again."""
        self._sampler.stop()
        self._states.stop()
        self._running.close()
        self._moments += self._sampler.taken
        self._sing("after")
        self.after = self._probe()

    def reasons(self) -> tuple[str, ...]:
        """Judge what was seen; empty if the figures count."""
        cores = self.before.facts.get("logical_cores")
        memory = self.before.facts.get("memory")
        return (
            *of_states(self.before, self._states.taken, self.after),
            *of_moments(
                self._moments,
                cores if isinstance(cores, int) else 1,
                memory if isinstance(memory, int) else 0,
            ),
            *of_clocks(self.metered),
            *self._canaries,
        )

    def _sing(self, when: str) -> None:
        """Time the canary, once more if it is outside: only what stays slow rejects.

        The first reading alone is kept, or the band would narrow by its own verdicts.
        """
        past, readings = self._history.readings(), self._measure()
        self._history.add(readings)
        if any(canary.outside(readings, past)):
            self._sleep(canary.REST)
            readings = canary.better(readings, self._measure())
        self._canaries += [f"{one}, {when} the job" for one in canary.outside(readings, past)]


def of_states(
    before: Environment, during: Sequence[Environment], after: Environment
) -> Iterator[str]:
    """Judge the facts before, during and after a job; each reason is given once."""
    last = dict(before.facts)
    for state in (*during, after):
        for name in before.comparable:
            value = state.facts.get(name, last.get(name))
            if name in last and value != last[name]:
                yield f"{name} changed from {last[name]} to {value}"
        last |= state.facts
    told: set[str] = set()
    for when, state in (("before", before), *(("during", s) for s in during), ("after", after)):
        for reason in of_state(state):
            if reason not in told:
                told.add(reason)
                yield f"{reason} {when} the job"
    utilization = before.facts.get("gpu_utilization")
    if isinstance(utilization, float) and utilization > GPU_IDLE:
        yield f"another process used the GPU to {utilization:.0%} before the job"


def of_state(state: Environment) -> Iterator[str]:
    """Tell what is wrong with a host as it is; an unknown fact is not wrong."""
    facts = state.facts
    if facts.get("power_source") in {"battery", "ups"}:
        yield f"on {facts['power_source']} power"
    if facts.get("power_mode") == "low":
        yield "in low power mode"
    if facts.get("thermal_level", "nominal") != "nominal":
        yield f"thermal level {facts['thermal_level']}"
    if facts.get("memory_pressure", "normal") != "normal":
        yield f"memory pressure {facts['memory_pressure']}"
    priority = facts.get("priority")
    if facts.get("os") == "macOS" and isinstance(priority, int) and priority <= THROTTLED_PRIORITY:
        yield f"throttled to priority {priority}"
    for name, activity in (("spotlight_cpu", "Spotlight"), ("time_machine_cpu", "Time Machine")):
        cores = facts.get(name)
        if isinstance(cores, float) and cores > BACKGROUND_CORES:
            yield f"{activity} used {cores:.1f} cores"
    if facts.get("mlx_device") == "Apple Paravirtual device":
        yield "in a virtual machine"


def of_moments(moments: Sequence[Moment], cores: int, memory: int) -> Iterator[str]:
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
        yield f"swap grew by {(last.swap_used - first.swap_used) / MIB:.0f} MiB"
    least = min(moment.available for moment in moments)
    if least < LEAST_AVAILABLE * memory:
        yield f"only {least / MIB:.0f} MiB of memory were left"
    elapsed = last.monotonic - first.monotonic
    if first.stalled is not None and last.stalled is not None:
        stalled = last.stalled - first.stalled
        if stalled > STALLED_SHARE * elapsed:
            yield f"waited for memory for {stalled:.2f} s"
    if first.refused is not None and last.refused is not None and last.refused > first.refused:
        yield f"at its memory limit {last.refused - first.refused} times"


def _clocks(earlier: Moment, later: Moment) -> Iterator[str]:
    """Compare the clocks of two readings in a row."""
    elapsed = later.monotonic - earlier.monotonic
    step = later.wall - earlier.wall - elapsed
    if abs(step) > CLOCK_STEP + CLOCK_DRIFT * elapsed:
        yield f"the clock jumped by {step:+.2f} s, or the machine slept"
    late = elapsed - INTERVAL
    # A busy interpreter delays the sampler too, but it uses processor time meanwhile.
    if late > STOPPED and later.own - earlier.own < elapsed / 2:
        yield f"the process stood still for {late:.2f} s"


def _processors(moments: Sequence[Moment], cores: int) -> Iterator[str]:
    """Compare the machine's processor time to our own: all the time, and over any second."""
    first, last = moments[0], moments[-1]
    elapsed = last.monotonic - first.monotonic
    if elapsed < JUDGED:
        return
    if (last.stolen - first.stolen) / elapsed > STOLEN_SHARE * cores:
        yield f"the hypervisor took {(last.stolen - first.stolen) / elapsed:.2f} cores"
    if reasons := overused(first, last, cores):
        yield from reasons
        return
    burst = max(map(others, *_windows(moments)), default=0.0)
    if burst > max(BURST_CORES, BURST_SHARE * cores):
        yield f"other processes used {burst:.2f} cores for a second"


def overused(first: Moment, last: Moment, cores: int) -> list[str]:
    """Tell if other processes used too much processor between two readings."""
    used = others(first, last)
    too_much = used > max(OTHERS_CORES, OTHERS_SHARE * cores)
    return [f"other processes used {used:.2f} cores"] if too_much else []


def others(first: Moment, last: Moment) -> float:
    """Return the cores that other processes used between two readings."""
    busy, own = last.busy - first.busy, last.own - first.own
    return (busy - own) / (last.monotonic - first.monotonic)


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

"""Whether a job's figures count: the machine before, during and after it, and its canaries.

A reason spoils some kinds of figures: they are kept, and never compared. What is unknown is no
reason; the record lists it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from worker.machine import canary
from worker.machine.canary import History, Readings
from worker.machine.disturbances import of_moments, of_states, others_all_the_time
from worker.machine.energy import Reading, metered, of_clocks
from worker.machine.environment import probe_often
from worker.machine.readings import INTERVAL, Moment, Sampler, read
from worker.machine.reasons import Reason
from worker.record import Environment

#: Seconds between the few facts that need a command and are asked for during a job; on a Mac two
#: commands of 10 ms, so 0.2 % of a core.
OFTEN = 10.0


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
        self._canaries: list[Reason] = []

    def start(self) -> None:
        """Time the canary and begin to sample."""
        self._time_canary("before")
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
        self._time_canary("after")
        self.after = self._probe()

    def reasons(self) -> tuple[Reason, ...]:
        """Judge what was seen; empty if all figures count."""
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

    @property
    def others_cores(self) -> float | None:
        """The cores that other processes used while the job was timed; None if it was too short."""
        return others_all_the_time(self._moments)

    def _time_canary(self, when: str) -> None:
        """Time it, once more if it is outside: only what stays slow is a reason.

        The first reading alone is kept, or the band would narrow by its own verdicts.
        """
        past, readings = self._history.readings(), self._measure()
        self._history.add(readings)
        if any(canary.outside(readings, past)):
            self._sleep(canary.REST)
            readings = canary.better(readings, self._measure())
        self._canaries += [one.at(when) for one in canary.outside(readings, past)]

"""Which job comes next on which host; pure, so that a simulation can drive it as dispatch does."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from worker.job import Job

Expected = Mapping[tuple[str, str], float]  # seconds for a (cell, host) measured before


class Schedule:
    """Jobs that wait and jobs under way, and which lane may do which.

    A lane is a device with its own queue; it serves targets: its hosts' names and their device
    class. First come jobs that were begun before, then the run that had the least of this farm so
    far; of a class the longest jobs first, of one host in the order given.
    """

    def __init__(
        self, jobs: Iterable[Job], lanes: Mapping[str, frozenset[str]], expected: Expected
    ) -> None:
        self._serves = {lane: set(targets) for lane, targets in lanes.items()}
        self._lengths: dict[str, float] = {}
        for (cell, _), seconds in expected.items():
            self._lengths[cell] = max(seconds, self._lengths.get(cell, 0.0))
        self._waiting: dict[tuple[str, str], list[tuple[bool, float, int, Job]]] = defaultdict(list)
        self._open: dict[str, Job] = {}
        self._under_way: set[str] = set()
        self._places: dict[str, int] = {}
        self._unfinished: Counter[str] = Counter()
        self._served: Counter[str] = Counter()
        for place, job in enumerate(jobs):
            self._places[job.id], self._open[job.id] = place, job
            self._unfinished[job.host] += 1
            self._push(job, begun=False)

    def waits(self, job: str) -> bool:
        """Tell whether a job is still to be done and nobody is at it."""
        return job in self._open and job not in self._under_way

    def holds(self, lane: str) -> bool:
        """Tell whether there is, or may again be, something for this lane to do."""
        return any(self._unfinished[target] for target in self._serves[lane])

    def has(self, lane: str) -> bool:
        """Tell whether there is something that this lane can do now."""
        return self._next(lane) is not None

    def take(self, lane: str) -> Job | None:
        """Return the job that this lane does next, None if there is none for now."""
        queue = self._next(lane)
        if queue is None:
            return None
        job = heapq.heappop(self._waiting[queue])[3]
        self._under_way.add(job.id)
        self._served[job.run] += 1
        return job

    def give_back(self, job: Job) -> None:
        """Let a job that a lane has lost be done again."""
        self._under_way.discard(job.id)
        self._push(job, begun=True)

    def finish(self, job: Job) -> None:
        """Note that a job has its record."""
        self._under_way.discard(job.id)
        if self._open.pop(job.id, None):
            self._unfinished[job.host] -= 1

    def surrender(self, lane: str) -> list[Job]:
        """Take a lane away; return the waiting jobs that no other lane can do."""
        mine = self._serves.pop(lane)
        left = set().union(*self._serves.values())
        return [job for job in self._open.values() if job.host in mine - left]

    def _next(self, lane: str) -> tuple[str, str] | None:
        """Return the queue, by target and run, that this lane takes its next job from."""
        ranked = []
        for queue, heap in self._waiting.items():
            if queue[0] in self._serves[lane]:
                while heap and not self.waits(heap[0][3].id):
                    heapq.heappop(heap)
                if heap:
                    ranked.append((heap[0][0], self._served[queue[1]], heap[0][1:3], queue))
        return min(ranked)[-1] if ranked else None

    def _push(self, job: Job, *, begun: bool) -> None:
        shared = sum(job.host in targets for targets in self._serves.values()) > 1
        length = self._lengths.get(job.cell.id, 0.0) if shared else 0.0
        entry = (not begun, -length, self._places[job.id], job)
        heapq.heappush(self._waiting[job.host, job.run], entry)

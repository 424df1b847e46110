"""Why figures do not count: a reason is a kind with figures, and spoils some kinds of metric.

The sentence is made where it is shown; nothing reads it. ``counts`` is the one rule by which a
figure counts or does not: for gates, nights, repetitions, tables, pages, exports and the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from pydantic import TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from worker.job import Wire
from worker.machine import old_reasons
from worker.metrics import METRICS, Kind

#: What depends on how much of the machine a job had, and how fast its clocks ran.
TIMED: frozenset[Kind] = frozenset({"speed", "bandwidth", "energy"})
EVERYTHING: frozenset[Kind] = TIMED | {"bytes", "quality"}


@dataclass(frozen=True)
class Meaning:
    """What a kind of reason means.

    ``sentence`` takes the reason's figures; ``remedy`` says what to do; ``passes`` that it goes
    away by waiting.
    """

    sentence: str
    remedy: str
    spoils: frozenset[Kind] = TIMED
    passes: bool = True


_CLOSE = "close what else runs on the machine"
_COOL = "let it cool down"
_MEMORY = "close what else needs memory, or take a shorter context"

KINDS = {
    "busy": Meaning("other processes used {cores:.2f} cores", _CLOSE),
    "busy for a second": Meaning("other processes used {cores:.2f} cores for a second", _CLOSE),
    "background work": Meaning("{activity} used {cores:.1f} cores", "wait until it is done"),
    "GPU in use": Meaning("another process used the GPU to {share:.0%}", _CLOSE),
    "stolen": Meaning(
        "the hypervisor took {cores:.2f} cores", "measure when its neighbours are quiet"
    ),
    "on battery": Meaning("on {source} power", "plug it in", passes=False),
    "low power": Meaning("in low power mode", "choose another power mode", passes=False),
    "throttled": Meaning(
        "throttled to priority {priority}", "see docs/mac.md: launchd", passes=False
    ),
    "virtual machine": Meaning("in a virtual machine", "use the Mac itself", passes=False),
    "hot": Meaning("thermal level {level}", _COOL),
    "GPU clock fell": Meaning("the GPU clock fell from {best:.0f} to {clock:.0f} MHz", _COOL),
    "slow canary": Meaning(
        "canary {kernel} took {times:.2f} times the host's best", f"{_COOL}, or {_CLOSE}"
    ),
    "changed": Meaning("{fact} changed from {before} to {after}", "leave it alone meanwhile"),
    "clock jumped": Meaning(
        "the clock jumped by {seconds:+.2f} s, or the machine slept", "keep it awake"
    ),
    "stood still": Meaning("the process stood still for {seconds:.2f} s", _CLOSE),
    "memory pressure": Meaning("memory pressure {level}", _MEMORY),
    "little memory": Meaning("only {mebibytes:.0f} MiB of memory were left", _MEMORY),
    "waited for memory": Meaning("waited for memory for {seconds:.2f} s", _MEMORY),
    "at its memory limit": Meaning("at its memory limit {times} times", "raise the limit"),
    "swapped": Meaning("swap grew by {mebibytes:.0f} MiB", _MEMORY, TIMED | {"bytes"}),
    # Of an old record, in words that no kind had.
    "other": Meaning("{text}", "measure again", EVERYTHING),
}


class Reason(Wire):
    """Why figures of some kinds of metric do not count; ``when``: before, during or after the job.

    A sentence, as records of version 1 have it, is read too.
    """

    kind: str
    figures: dict[str, str | int | float] = {}
    when: str = ""

    @classmethod
    def of(cls, kind: str, **figures: str | float) -> Self:
        """Make a reason of a kind and its figures."""
        return cls(kind=kind, figures=figures)

    @model_validator(mode="before")
    @classmethod
    def _of_a_sentence(cls, value: Any) -> Any:
        return old_reasons.understood(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.kind not in KINDS:
            raise PydanticCustomError("kind", "unknown reason {kind!r}", {"kind": self.kind})
        try:
            _ = self.sentence
        except (KeyError, ValueError, TypeError) as error:
            told = {"kind": self.kind}
            raise PydanticCustomError("figures", "no such figures of {kind!r}", told) from error
        return self

    @property
    def sentence(self) -> str:
        """The reason for people, with its figures."""
        told = KINDS[self.kind].sentence.format_map(self.figures)
        return f"{told} {self.when} the job" if self.when else told

    @property
    def spoils(self) -> frozenset[Kind]:
        """The kinds of metric whose figures do not count."""
        return KINDS[self.kind].spoils

    @property
    def passes(self) -> bool:
        """Whether waiting, or another try, may do without it."""
        return KINDS[self.kind].passes

    @property
    def remedy(self) -> str:
        return KINDS[self.kind].remedy

    def at(self, when: str) -> Reason:
        """Return the reason with the time at which it was seen."""
        return self.model_copy(update={"when": when})


REASONS = TypeAdapter(tuple[Reason, ...])


def counts(metric: str, reasons: Iterable[Reason]) -> bool:
    """Tell whether a figure of a metric counts despite these reasons.

    Of a metric that is not known here, it does without any reason alone.
    """
    if metric not in METRICS:
        return not tuple(reasons)
    return not any(METRICS[metric].kind in one.spoils for one in reasons)

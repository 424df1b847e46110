"""What travels back: one record for every job, whatever happened to it.

Format history
--------------
1: first version; ``host`` was added later, and is None where it is missing.
2: ``invalid`` holds reasons by kind, where version 1 has a sentence for each.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from worker.job import Job, Wire, content_hash
from worker.machine import reasons
from worker.machine.reasons import Reason

Fact = str | int | float | bool


class Environment(Wire):
    """The state of a host: named facts, and for each missing fact why it is unknown.

    ``comparable`` names the facts that decide whether two records may be compared.
    """

    facts: dict[str, Fact] = {}
    unknown: dict[str, str] = {}
    comparable: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """What the host is, e.g. ``Apple M5 Max, 40 GPU cores, 128 GB``."""
        return str(self.facts.get("device", "unknown device"))

    @property
    def comparison_key(self) -> str:
        """Name the facts that decide comparability; unknown ones count as themselves."""
        return content_hash({name: self.facts.get(name, "unknown") for name in self.comparable})


class Sample(Wire):
    """One figure: the finite value of one metric in one trial; warm-ups are kept, marked.

    ``labels`` tell samples of one cell apart, e.g. the depth of a needle. A cache that spoils its
    model, so that a figure is not finite, fails its job.
    """

    metric: str
    value: float
    trial: int = 0
    warmup: bool = False
    labels: dict[str, str | int | float] = {}

    @field_validator("value")
    @classmethod
    def _is_finite(cls, value: float, others: ValidationInfo) -> float:
        if not math.isfinite(value):
            told = {"metric": others.data.get("metric", "value"), "value": str(value)}
            raise PydanticCustomError("not_finite", "{metric} is {value}, no finite figure", told)
        return value


class Failure(Wire):
    """Why a job gave no result: the kind, one sentence, what to do, and the end of the log.

    ``wrong`` is a build that fails its golden vectors there.
    """

    kind: Literal["exception", "crash", "deadline", "memory", "refused", "wrong", "lost"]
    message: str
    remedy: str = ""
    log: str = ""


class Record(Wire):
    """The document that a job produces; the database keeps it verbatim and indexes it.

    ``phases`` holds seconds of wall time by phase (``start``, ``load``, ``measure``, ...);
    ``details`` what a benchmark or cache says of itself and is no metric; ``invalid`` the reasons
    why figures of some kinds do not count (they are kept all the same). ``host`` is the host that
    did the job, where a device class was asked for.
    """

    version: Literal[1, 2] = 2
    job: Job
    attempt: int = 1
    host: str | None = None
    status: Literal["ok", "failed"]
    started: float
    samples: tuple[Sample, ...] = ()
    environment: Environment = Environment()
    environment_after: Environment = Environment()
    invalid: tuple[Reason, ...] = ()
    suspicious: tuple[str, ...] = ()
    phases: dict[str, float] = {}
    details: dict[str, JsonValue] = {}
    build_hash: str | None = Field(default=None, description="hash of the bytes that really ran")
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """What an acknowledgement calls this record: its job and the attempt at it."""
        return f"{self.job.id}-{self.attempt}"

    @property
    def place(self) -> str:
        """The host of the inventory that did the job."""
        return self.host or self.job.host

    def counts(self, metric: str) -> bool:
        """Tell whether this record's figures of a metric count."""
        return self.status == "ok" and reasons.counts(metric, self.invalid)

    @property
    def spoiled(self) -> tuple[str, ...]:
        """The metrics that were measured and do not count."""
        measured = dict.fromkeys(one.metric for one in self.samples if not one.warmup)
        return tuple(metric for metric in measured if not self.counts(metric))

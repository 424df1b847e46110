"""What a doctor finds on a host, as it is written into a bundle."""

from __future__ import annotations

from typing import Literal

from worker.conformance import Conformance
from worker.job import Wire
from worker.machine.environment.bundle import Bundle

#: ``doubtful`` computes rightly, but its figures would not count; ``skipped`` was not tried.
State = Literal["well", "doubtful", "wrong", "skipped"]


class Finding(Wire):
    """What one check says, in a sentence, and what to do where it is not well."""

    name: str
    state: State
    said: str
    remedy: str = ""
    seconds: float = 0.0


class Kernel(Wire):
    """How far a kernel is from the portable path; ``problem`` is empty where it agrees.

    One that is not ``compared`` is none: the portable path serves that shape.
    """

    name: str
    compared: bool = True
    error: float | None = None
    seconds: float = 0.0
    problem: str = ""


class Examination(Wire):
    """All findings, and what they were made of: raw answers, golden vectors, kernels, canaries."""

    findings: tuple[Finding, ...]
    raw: Bundle | None = None
    conformance: Conformance | None = None
    kernels: tuple[Kernel, ...] = ()
    canaries: tuple[dict[str, float], ...] = ()

"""Look a host over from end to end: what it knows, what it computes, whether its figures count.

Everything that runs on the host is a command of the harness, so that a host which is reached over
SSH is asked as this machine is. Nothing is stored.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from farm.campaign import identities
from farm.errors import FarmError, HostError
from farm.exchange.examination import Examination, Finding, Kernel, State
from farm.exchange.redaction import Redaction
from farm.hosts import checkup
from farm.hosts.bootstrap import Site
from farm.hosts.said import telling
from farm.hosts.ssh.channel import Outcome
from farm.plan import kernels
from worker.conformance import Conformance
from worker.job import Build, Cache, Cell, Job, Order
from worker.machine.environment.bundle import Bundle
from worker.process import harness
from worker.record import Record

#: Seconds that all checks may take together, and one of them at most.
LONGEST = 300.0
EACH = 90.0
NO_TIME = f"no time was left of the {LONGEST / 60:.0f} minutes"
#: How far apart a quiet machine's readings of the canary may be: the second best over the best.
STEADY = 1.25
SEND = "send us the bundle (farm doctor --bundle FILE.zip)"
QUIET = "let it rest, quit what else works on it, and ask again"

FP16, TURBO = Cache(name="fp16"), Cache(name="turbo", params={"key_bits": 8, "value_bits": 4})
CELLS = tuple(
    Cell(benchmark=benchmark, model="reference", cache=cache, params={**params, "warmups": 1})
    for benchmark, params in (
        ("decode", {"context": 128, "tokens": 8, "trials": 2}),
        ("prefill", {"context": 256, "trials": 2}),
    )
    for cache in (FP16, TURBO)
)

_CANARIES = TypeAdapter(tuple[dict[str, float], ...])
_KERNELS = TypeAdapter(tuple[Kernel, ...])


class Ask(Protocol):
    """Runs a module of the harness with arguments on a host; raises HostError."""

    def __call__(
        self, module: str, arguments: list[str], deadline: float, stdin: bytes = b""
    ) -> Outcome: ...


@dataclass(frozen=True)
class Patient:
    """A host to look over: how to ask it, and where the build lies there.

    ``run`` names this examination: of one build there may be many.
    """

    name: str
    ask: Ask
    folder: str
    build: Build
    run: str


@dataclass
class Chart:
    """What was found so far."""

    findings: list[Finding] = field(default_factory=list)
    raw: Bundle | None = None
    conformance: Conformance | None = None
    kernels: tuple[Kernel, ...] = ()
    canaries: tuple[dict[str, float], ...] = ()
    records: list[Record] = field(default_factory=list)

    def examination(self) -> Examination:
        return Examination(
            findings=tuple(self.findings),
            raw=self.raw,
            conformance=self.conformance,
            kernels=self.kernels,
            canaries=self.canaries,
        )


def here(module: str, arguments: list[str], deadline: float, stdin: bytes = b"") -> Outcome:
    """Ask this machine."""
    begun = time.time()
    try:
        done = subprocess.run(
            harness.command(module, *arguments),
            env=harness.environment(),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=deadline,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(f"not done after {deadline:.0f} s") from error
    output, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return Outcome(done.returncode, output, errors, begun)


def over(place: Site) -> Ask:
    """Return how to ask a host over SSH."""

    def ask(module: str, arguments: list[str], deadline: float, stdin: bytes = b"") -> Outcome:
        command = place.command("-m", module, *arguments)
        return place.connection.run(command, deadline, [stdin])

    return ask


def names(patient: Patient) -> dict[str, list[str]]:
    """Ask what a host's users and the host itself are called, to take that out of a bundle."""
    return identities.told(patient.name, patient.ask(identities.MODULE, [], EACH))


def examine(
    patient: Patient,
    begin: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Chart:
    """Do each check; ``begin`` is told the name of each before it starts.

    What fails is a finding, and the next check goes on.
    """
    chart, end = Chart(), clock() + LONGEST
    for name, check in _checks():
        begin(name)
        begun = clock()
        finding = _done(name, check, patient, chart, min(EACH, end - begun))
        chart.findings.append(finding.model_copy(update={"seconds": clock() - begun}))
    return chart


Check = Callable[[Patient, Chart, float], tuple[State, str, str]]


def _checks() -> Iterator[tuple[str, Check]]:
    yield "what it knows of itself", _probes
    yield "canary", _canary
    yield "golden vectors", _golden
    yield "kernels of the suites", _variants
    for cell in CELLS:

        def measured(
            patient: Patient, chart: Chart, left: float, cell: Cell = cell
        ) -> tuple[State, str, str]:
            return _measured(patient, chart, left, cell)

        yield cell.label, measured


def _done(name: str, check: Check, patient: Patient, chart: Chart, left: float) -> Finding:
    if left < 1:
        return Finding(name=name, state="skipped", said=NO_TIME, remedy="try when it is less busy")
    try:
        state, said, remedy = check(patient, chart, left)
    except HostError as error:
        return Finding(name=name, state="wrong", said=str(error), remedy="try again; then " + SEND)
    return Finding(name=name, state=state, said=said, remedy=remedy)


def _probes(patient: Patient, chart: Chart, left: float) -> tuple[State, str, str]:
    done = patient.ask("worker.machine.environment", ["--raw"], left)
    try:
        chart.raw = Bundle.model_validate_json(done.output)
    except ValidationError:
        return "wrong", f"does not tell of itself: {_complaint(done)}", SEND
    invalid = [one for one in checkup.of_bundle(chart.raw) if one.severity == "invalid"]
    told = checkup.device(chart.raw)
    if invalid:
        return "doubtful", f"{told}; {'; '.join(one.message for one in invalid)}", ""
    return "well", told, ""


def _canary(patient: Patient, chart: Chart, left: float) -> tuple[State, str, str]:
    done = patient.ask("worker.machine.canary", [], left)
    try:
        chart.canaries = _CANARIES.validate_json(done.output)
    except ValidationError:
        return "wrong", f"cannot compute at all: {_complaint(done)}", SEND
    told, unsteady = [], False
    for kernel in chart.canaries[0]:
        best, second, *_ = sorted(reading[kernel] for reading in chart.canaries)
        told.append(f"{kernel} {best * 1e3:.2f} ms")
        unsteady = unsteady or second > STEADY * best
    if unsteady:
        return "doubtful", f"times vary, best: {', '.join(told)}", QUIET
    return "well", f"best of {len(chart.canaries)}: {', '.join(told)}", ""


def _golden(patient: Patient, chart: Chart, left: float) -> tuple[State, str, str]:
    done = patient.ask(checkup.GOLDEN, [], left)
    try:
        said = checkup.verdict(patient.name, done.output, done.errors)
    except FarmError as error:
        return "wrong", str(error), SEND
    chart.conformance = Conformance.model_validate_json(done.output)
    if chart.conformance.attention_failures:
        return "doubtful", said, f"slower, but right; {SEND}"
    return "well", said, ""


def _variants(patient: Patient, chart: Chart, left: float) -> tuple[State, str, str]:
    shapes = json.dumps(kernels.needed()).encode()
    limit = ["--seconds", f"{max(1.0, left - 10):.0f}"]
    done = patient.ask("worker.turbo.variants", limit, left, shapes)
    try:
        chart.kernels = _KERNELS.validate_json(done.output)
    except ValidationError:
        return "wrong", f"the check ended with {done.status}: {_complaint(done)}", SEND
    if not chart.kernels:
        return "skipped", "no GPU that the kernels run on; the portable path serves", ""
    bad = [one for one in chart.kernels if one.problem]
    compared = [one for one in chart.kernels if one.compared]
    told = f"{len(compared) - len(bad)} of {len(compared)} agree with the portable path"
    if others := len(chart.kernels) - len(compared):
        told += f", {others} more are left to it"
    if bad:
        return "wrong", f"{told}; {bad[0].name}: {telling(bad[0].problem)}", SEND
    if not compared:
        return "wrong", f"none of {len(chart.kernels)} shapes has a kernel here", SEND
    return "well", told, ""


def _measured(patient: Patient, chart: Chart, left: float, cell: Cell) -> tuple[State, str, str]:
    """Measure one cell; its record goes into the bundle whether it is good or not."""
    # The host has a name of its own in what is sent to others: none.
    job = Job(
        run=patient.run,
        host="host",
        build=patient.build,
        cell=cell,
        deadline=max(1.0, min(60.0, left - 5)),
    )
    order = Order(job=job, attempt=1).model_dump_json().encode() + b"\n"
    done = patient.ask("worker.process.single", [patient.folder], left, order)
    try:
        record = Record.model_validate_json(done.output)
    except ValidationError:
        return "wrong", f"gave no record: {_complaint(done)}", SEND
    chart.records.append(record)
    if record.failure:
        return "wrong", record.failure.message, record.failure.remedy or SEND
    told = ", ".join(_speeds(record))
    if record.spoiled:
        why = "; ".join(reason.sentence for reason in record.invalid)
        return "doubtful", f"{told}; would not count: {why}", QUIET
    return "well", told, ""


def _speeds(record: Record) -> Sequence[str]:
    counted = [sample for sample in record.samples if not sample.warmup]
    metrics = dict.fromkeys(sample.metric for sample in counted if sample.metric.endswith("_tps"))
    return [
        f"{metric} {max(s.value for s in counted if s.metric == metric):.0f} tokens/s"
        for metric in metrics
    ]


def _complaint(done: Outcome) -> str:
    return telling(done.errors) or telling(done.output) or "nothing"


def redacted(chart: Chart, names: dict[str, list[str]]) -> tuple[Examination, list[Record]]:
    """Return what may be sent to others: no name, address or serial number in it."""
    redaction = Redaction(names)
    return redaction.model(chart.examination()), list(map(redaction.model, chart.records))

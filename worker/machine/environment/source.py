"""Where facts come from: a command or a file, and a pure parser of what it says."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from worker.machine.environment.facts import possible
from worker.record import Environment, Fact

Facts = dict[str, Fact]
#: For a fact that an output gives, and that cannot be true: the reason.
Doubts = dict[str, str]

RAW_KEPT = 300
NAME_KEPT = 60
#: Seconds for a command that a check of the host alone asks: some need several to start.
RARE_DEADLINE = 15.0
#: Seconds by which the time in an output and the time of reading it may part.
FRESH = 30.0


class UnreadableError(ValueError):
    """The output is not in a format that the parser knows."""


@dataclass(frozen=True)
class Output:
    """What a source said, or why it said nothing; ``missing`` is empty if it was read at all.

    ``at`` is when it was read, in seconds since 1970, where that is known.
    """

    text: str = ""
    missing: str = ""
    at: float | None = None


@dataclass(frozen=True)
class Command:
    """A command without a shell, in the C locale, and its deadline in seconds."""

    argv: tuple[str, ...]
    deadline: float = 2.0

    def __str__(self) -> str:
        return " ".join(self.argv)

    def read(self) -> Output:
        """Run it; whatever the exit status, output is output (sysctl fails for one unknown key)."""
        environment = os.environ | {"LC_ALL": "C", "LANG": "C"}
        try:
            done = subprocess.run(
                self.argv,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=self.deadline,
                env=environment,
                check=False,
            )
        except OSError as error:
            return Output(missing=f"cannot run: {error.strerror or error}")
        except subprocess.TimeoutExpired:
            return Output(missing=f"no answer within {self.deadline:g} s")
        text = done.stdout.decode(errors="replace")
        complaint = done.stderr.decode(errors="replace").strip()[:RAW_KEPT]
        return Output(text) if text.strip() else Output(missing=complaint or "no output")


@dataclass(frozen=True)
class File:
    """A file of /proc or /sys."""

    path: str

    def __str__(self) -> str:
        return self.path

    def read(self) -> Output:
        try:
            return Output(Path(self.path).read_text(errors="replace"))
        except OSError as error:
            return Output(missing=f"cannot read: {error.strerror or error}")


class Origin(Protocol):
    """Something that can be asked; its text names it for people and in a bundle."""

    def read(self) -> Output: ...


@dataclass(frozen=True)
class Source:
    """An origin, how to read what it says, and the facts that it should give.

    ``parse`` is pure and raises nothing but UnreadableError. ``doubts`` tells what it leaves out
    and why, ``time`` when the source itself says that it was so, in seconds since 1970.
    """

    origin: Origin
    parse: Callable[[str], Facts]
    gives: tuple[str, ...]
    doubts: Callable[[str], Doubts] = lambda _: {}
    time: Callable[[str], float | None] = lambda _: None


def read_all(sources: tuple[Source, ...]) -> dict[str, Output]:
    """Ask every origin once: commands beside each other, each waits in the kernel only."""
    origins = {str(source.origin): source.origin for source in sources}
    with ThreadPoolExecutor(max_workers=8) as pool:
        outputs = pool.map(_read_now, origins.values())
        return dict(zip(origins, outputs, strict=True))


def _read_now(origin: Origin) -> Output:
    output = origin.read()
    return replace(output, at=time.time())


def gather(sources: tuple[Source, ...], outputs: Mapping[str, Output]) -> Environment:
    """Make facts of outputs; the first source that gives a fact is believed.

    A fact that no source gives, or that cannot be true, is unknown with the reason.
    """
    facts: Facts = {}
    unknown: dict[str, str] = {}
    for source in sources:
        found, reasons = understand(
            source, outputs.get(str(source.origin), Output(missing="unasked"))
        )
        facts = found | facts
        unknown = reasons | unknown
    facts, doubts = possible(facts)
    unknown |= doubts
    reasons = {name: reason for name, reason in unknown.items() if name not in facts}
    return Environment(facts=facts, unknown=reasons)


def understand(source: Source, output: Output) -> tuple[Facts, dict[str, str]]:
    """Parse one output: its facts, and for each other fact that it should give the reason."""
    name = textwrap.shorten(str(source.origin), NAME_KEPT, placeholder=" ...")
    raw = output.text.strip()[:RAW_KEPT]
    try:
        facts, doubts = _believed(source, output)
    except UnreadableError as error:
        told = f"{name}: {error}" + (f": {raw!r}" if raw else "")
        return {}, dict.fromkeys(source.gives, told)
    reasons = dict.fromkeys(source.gives, f"{name}: not in the output: {raw!r}")
    reasons |= {fact: f"{name}: {doubt}" for fact, doubt in doubts.items()}
    return facts, {fact: reason for fact, reason in reasons.items() if fact not in facts}


def _believed(source: Source, output: Output) -> tuple[Facts, Doubts]:
    """Return the facts that can be true now, and why others cannot; raises UnreadableError."""
    if output.missing:
        raise UnreadableError(output.missing)
    parsed = source.parse(output.text)
    said = source.time(output.text)
    if said is not None and output.at is not None and abs(output.at - said) > FRESH:
        raise UnreadableError(f"says how it was {output.at - said:.0f} s before it was asked")
    facts, doubts = possible(parsed)
    return facts, source.doubts(output.text) | doubts

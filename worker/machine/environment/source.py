"""Where facts come from: a command or a file, and a pure parser of what it says."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from worker.record import Environment, Fact

Facts = dict[str, Fact]

RAW_KEPT = 300
NAME_KEPT = 60


class UnreadableError(ValueError):
    """The output is not in a format that the parser knows."""


@dataclass(frozen=True)
class Output:
    """What a source said, or why it said nothing; ``missing`` is empty if it was read at all."""

    text: str = ""
    missing: str = ""


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

    ``parse`` is pure and raises nothing but UnreadableError.
    """

    origin: Origin
    parse: Callable[[str], Facts]
    gives: tuple[str, ...]


def read_all(sources: tuple[Source, ...]) -> dict[str, Output]:
    """Ask every origin once: commands beside each other, each waits in the kernel only."""
    origins = {str(source.origin): source.origin for source in sources}
    with ThreadPoolExecutor(max_workers=8) as pool:
        outputs = pool.map(lambda origin: origin.read(), origins.values())
        return dict(zip(origins, outputs, strict=True))


def gather(sources: tuple[Source, ...], outputs: Mapping[str, Output]) -> Environment:
    """Make facts of outputs; the first source that gives a fact is believed.

    A fact that no source gives is unknown, with the reason and the beginning of the raw text.
    """
    facts: Facts = {}
    unknown: dict[str, str] = {}
    for source in sources:
        found, reason = understand(
            source, outputs.get(str(source.origin), Output(missing="unasked"))
        )
        facts = found | facts
        for name in source.gives:
            if name not in found:
                unknown.setdefault(name, reason)
    reasons = {name: reason for name, reason in unknown.items() if name not in facts}
    return Environment(facts=facts, unknown=reasons)


def understand(source: Source, output: Output) -> tuple[Facts, str]:
    """Parse one output: its facts, and the reason for those that it does not give."""
    name = textwrap.shorten(str(source.origin), NAME_KEPT, placeholder=" ...")
    if output.missing:
        return {}, f"{name}: {output.missing}"
    raw = output.text.strip()[:RAW_KEPT]
    try:
        return source.parse(output.text), f"{name}: not in the output: {raw!r}"
    except UnreadableError as error:
        return {}, f"{name}: {error}: {raw!r}"

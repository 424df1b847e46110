"""All raw outputs of a host in one file: the first contact with a host becomes a test."""

from __future__ import annotations

import platform
from typing import Literal

from worker.job import Wire
from worker.machine.environment import RARE, SOURCES, complete, interpreter
from worker.machine.environment.source import Output, gather, read_all
from worker.record import Environment


class Bundle(Wire):
    """What every source of a host said; ``known`` is what the process knew without asking."""

    version: Literal[1] = 1
    system: str
    known: Environment
    outputs: dict[str, Output]


def collect() -> Bundle:
    """Ask everything that a check asks, and keep the answers as they are."""
    system = platform.system()
    sources = (*SOURCES.get(system, ()), *RARE.get(system, ()))
    return Bundle(system=system, known=interpreter.probe(), outputs=read_all(sources))


def replay(bundle: Bundle) -> Environment:
    """Understand a bundle, here as on the host that it comes from."""
    sources = (*SOURCES.get(bundle.system, ()), *RARE.get(bundle.system, ()))
    return complete(gather(sources, bundle.outputs), bundle.known)

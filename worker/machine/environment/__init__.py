"""What a host knows of itself: facts, and for each missing fact why it is unknown."""

from __future__ import annotations

import platform

from worker.machine.environment import (
    cgroup,
    interpreter,
    ioreg,
    launchd,
    linux,
    macmon,
    mactop,
    mlx,
    notifyutil,
    nvidia,
    pmset,
    powermetrics,
    processes,
    profiler,
    settings,
    sw_vers,
    sysctl,
    vm_stat,
)
from worker.machine.environment.derived import COMPARABLE, derive
from worker.machine.environment.source import Source, gather, read_all
from worker.record import Environment

# By platform.system(); of two sources that give the same fact the first is believed.
SOURCES: dict[str, tuple[Source, ...]] = {
    "Darwin": (
        *sw_vers.SOURCES,
        *sysctl.SOURCES,
        *ioreg.SOURCES,
        *pmset.SOURCES,
        *notifyutil.SOURCES,
        *macmon.SOURCES,
        *vm_stat.SOURCES,
        *processes.SOURCES,
        *mlx.SOURCES,
    ),
    "Linux": (*linux.SOURCES, *cgroup.SOURCES, *nvidia.SOURCES, *mlx.SOURCES),
}


# Asked as well by a check of the host, which may take longer and happens rarely.
RARE = {
    "Darwin": (
        *profiler.SOURCES,
        *settings.SOURCES,
        *launchd.SOURCES,
        *mactop.SOURCES,
        *powermetrics.SOURCES,
    ),
    "Linux": (),
}

# Asked while a job is timed.
OFTEN = {"Darwin": (*notifyutil.SOURCES, *pmset.SUPPLY_SOURCES)}


def probe() -> Environment:
    """Ask this host; a source that fails or hangs makes its facts unknown, never a guess."""
    sources = SOURCES.get(platform.system(), mlx.SOURCES)
    return complete(gather(sources, read_all(sources)), interpreter.probe())


def probe_often() -> Environment:
    """Ask the little that may change during a job and needs a command."""
    sources = OFTEN.get(platform.system(), ())
    return gather(sources, read_all(sources))


def complete(asked: Environment, known: Environment) -> Environment:
    """Join what was asked to what the process knows, and add the facts that follow from both."""
    facts = known.facts | asked.facts
    derived, reasons = derive(facts)
    return Environment(
        facts=facts | derived,
        unknown=known.unknown | asked.unknown | reasons,
        comparable=COMPARABLE,
    )

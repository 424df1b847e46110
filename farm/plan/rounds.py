"""Which jobs stand side by side: cells that differ in their cache or build alone, in rounds.

Each round measures all of them once, in fresh processes, in an order drawn by the run's name; so a
ratio is made of pairs that saw the same machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from worker import registry
from worker.job import Build, Cell

#: What is measured where.
Place = tuple[Build, Cell, str]
#: The same, and in which round, from 0.
Placed = tuple[Build, Cell, str, int]


def in_rounds(places: Iterable[Place], rounds: int, seed: str) -> list[Placed]:
    """Return every place as often as it is measured, in order.

    Speeds that are compared come in ``rounds`` rounds; what is compared with nothing, or gives the
    same figures each time, comes once.
    """
    groups: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        groups.setdefault((place[2], place[1].comparison), []).append(place)
    draw = random.Random(seed)  # noqa: S311  an order, no secret
    return [one for group in groups.values() for one in _rounds(group, rounds, draw)]


def exact(cell: Cell) -> bool:
    """Tell whether a cell gives the same figures each time, whatever else the machine does."""
    entry = registry.entries("benchmarks").get(cell.benchmark)
    return entry is not None and entry.exact


def _rounds(group: Sequence[Place], rounds: int, draw: random.Random) -> list[Placed]:
    if len(group) == 1 or exact(group[0][1]):
        return [(*place, 0) for place in group]
    return [
        (*place, number) for number in range(rounds) for place in draw.sample(group, len(group))
    ]

"""Search a ladder of settings, from the widest to the narrowest, for the last one that will do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from worker.choice import Divergence
from worker.job import Cache

#: A mixture is worth measuring if it is expected to save such a share of the bytes.
WORTH = 0.02
#: What is added up over layers is not quite what all of them do together.
MARGIN = 0.9


@dataclass(frozen=True)
class Tried:
    """A setting that was measured; ``width`` is the bits that a number takes, scales included."""

    cache: Cache
    width: float
    divergence: Divergence


def last_within(count: int, within: Callable[[int], bool]) -> int | None:
    """Return the last of ``count`` rungs that is within the budget, None if the first is not.

    ``within`` measures a rung. It is asked by bisection, so of 9 rungs 3 or 4 times; each rung is
    taken to be worse than the one before.
    """
    good, bad = -1, count
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if within(middle) else (good, middle)
    return None if good < 0 else good


def by_weight(layers: Sequence[float]) -> list[int]:
    """Return the layers, the one whose compression diverges most first."""
    return sorted(range(len(layers)), key=lambda layer: -layers[layer])


def fewest_heavy(layers: Sequence[float], whole: float, budget: float) -> int:
    """Return how many of the heaviest layers have to be spared so that the rest fits a budget.

    ``layers`` holds what each alone diverges, ``whole`` what all together do. Spared layers are
    taken to add nothing, the others what they have of the sum.
    """
    total = sum(layers)
    ordered = [layers[layer] for layer in by_weight(layers)]
    left, spared = total, 0
    while spared < len(layers) and total and whole * left / total > MARGIN * budget:
        left -= ordered[spared]
        spared += 1
    return spared


def mixtures(
    layers: Sequence[float], whole: float, budget: float, fits: Callable[[int], bool]
) -> Iterator[int]:
    """Yield how many layers to spare, more each time, for as long as ``fits`` finds it small."""
    spared = fewest_heavy(layers, whole, budget)
    while spared and spared < len(layers) and fits(spared):
        yield spared
        spared += max(1, spared // 2)

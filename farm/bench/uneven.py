"""Generated series of what detectors get wrong: uneven noise, many steps, slow losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator

from farm.bench.scoring import NEAR
from farm.bench.series import Floats

NIGHTS = 200
BEGIN = 120  # where the second of two states first comes
LEVEL = 40.0


@dataclass(frozen=True)
class Uneven:
    """Values; the steps that must be found; whether a slow loss must be told.

    ``allowed`` is a position where one step may be told, and need not be.
    """

    values: Floats
    steps: tuple[int, ...] = ()
    slow: bool = False
    allowed: int | None = None


def kinds() -> dict[str, Callable[[Generator], Uneven]]:
    """Return what makes a series of each kind."""
    made: dict[str, Callable[[Generator], Uneven]] = {
        "quiet, then noisy": _quiet_then_noisy,
        "noisy month": _noisy_month,
        "slow nights": _slow_nights,
        "two states": _two_states,
        "two states that stay for a week": partial(_two_states, turn=0.15),
        "noisy": lambda rng: _series(_normal(rng, 0.04)),
        "10 steps of 3 %": lambda rng: _stairs(rng, 10),
        "12 steps of 3 %": lambda rng: _stairs(rng, 12),
    }
    for share in (0.003, 0.01, 0.02):
        made[f"ramp of -10 %, noise {share:.1%}"] = partial(_ramp, deviation=share)
        made[f"20 drops of 1 %, noise {share:.1%}"] = partial(_drops, deviation=share)
    return made


def false_steps(found: list[int], series: Uneven) -> int:
    """Count the steps told that are none, one at the allowed position excepted."""
    wrong = [f for f in found if all(abs(f - s) > NEAR for s in series.steps)]
    if series.allowed is not None:
        return len(wrong) - any(abs(f - series.allowed) <= NEAR for f in wrong)
    return len(wrong)


def drawn(make: Callable[[Generator], Uneven], first: int, count: int) -> Iterator[Uneven]:
    """Draw series, each from a seed of its own."""
    return (make(np.random.default_rng(seed)) for seed in range(first, first + count))


def _series(logs: Floats, steps: tuple[int, ...] = ()) -> Uneven:
    return Uneven(LEVEL * np.exp(logs), steps)


def _losing(logs: Floats) -> Uneven:
    return Uneven(LEVEL * np.exp(logs), slow=True)


def _normal(rng: Generator, deviation: float | Floats) -> Floats:
    return np.asarray(deviation * rng.normal(0, 1, NIGHTS))


def _quiet_then_noisy(rng: Generator) -> Uneven:
    return _series(_normal(rng, np.where(np.arange(NIGHTS) < BEGIN, 0.003, 0.04)))


def _noisy_month(rng: Generator) -> Uneven:
    nights = np.arange(NIGHTS)
    return _series(_normal(rng, np.where((nights >= 100) & (nights < 130), 0.04, 0.003)))


def _slow_nights(rng: Generator) -> Uneven:
    return _series(_normal(rng, 0.003) - 0.35 * (rng.random(NIGHTS) < 0.2))


def _two_states(rng: Generator, turn: float = 0.5) -> Uneven:
    """Draw states that from some night on turn into each other with a probability a night."""
    states = np.zeros(NIGHTS)
    states[BEGIN:] = np.cumsum(rng.random(NIGHTS - BEGIN) < turn) % 2
    logs = np.log1p(-0.04 * states) + _normal(rng, 0.002)
    return Uneven(LEVEL * np.exp(logs), allowed=BEGIN)


def _stairs(rng: Generator, count: int) -> Uneven:
    """Draw steps of -3 %, at least ten nights apart."""
    spare = np.sort(rng.choice(NIGHTS - 16 - 9 * (count - 1), count, replace=False))
    at = 8 + spare + 9 * np.arange(count)
    losses = np.zeros(NIGHTS)
    losses[at] = np.log1p(-0.03)
    return _series(np.cumsum(losses) + _normal(rng, 0.01), tuple(at.tolist()))


def _ramp(rng: Generator, deviation: float) -> Uneven:
    return _losing(np.log1p(-0.10 * np.arange(NIGHTS) / NIGHTS) + _normal(rng, deviation))


def _drops(rng: Generator, deviation: float) -> Uneven:
    losses = np.zeros(NIGHTS)
    losses[rng.choice(np.arange(5, NIGHTS), 20, replace=False)] = np.log(0.99)
    return _losing(np.cumsum(losses) + _normal(rng, deviation))

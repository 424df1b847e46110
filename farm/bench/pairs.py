"""Generated pairs under ten kinds of noise: the gate's own benchmark data.

A session is 2 x pairs runs one after the other. Which run of a pair is the candidate's is drawn by
a coin, as ``farm gate`` does; drift, throttling and neighbours know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Log speeds, each of shape (trials, pairs)."""

    base: Floats
    head: Floats

    @property
    def log_ratios(self) -> Floats:
        return self.head - self.base


def pairs(family: str, trials: int, count: int, rng: Generator, loss: float = 0.0) -> Pairs:
    """Draw sessions in which the candidate is slower by the share ``loss``."""
    runs = FAMILIES[family](trials, 2 * count, rng).reshape(trials, count, 2)
    second = rng.integers(2, size=(trials, count, 1))
    head = np.take_along_axis(runs, second, axis=2)[..., 0]
    base = np.take_along_axis(runs, 1 - second, axis=2)[..., 0]
    return Pairs(base, head + np.log1p(-loss))


def _gaussian(trials: int, runs: int, rng: Generator) -> Floats:
    return 0.01 * rng.standard_normal((trials, runs))


def _loud(trials: int, runs: int, rng: Generator) -> Floats:
    return 0.03 * rng.standard_normal((trials, runs))


def _student(trials: int, runs: int, rng: Generator) -> Floats:
    return np.asarray(0.02 * rng.standard_t(3, (trials, runs)) / np.sqrt(3))


def _bimodal(trials: int, runs: int, rng: Generator) -> Floats:
    slow = rng.random((trials, runs)) < rng.uniform(0.2, 0.5, (trials, 1))
    return 0.004 * rng.standard_normal((trials, runs)) - 0.04 * slow


def _outliers(trials: int, runs: int, rng: Generator) -> Floats:
    hit = rng.random((trials, runs)) < 0.05
    return _gaussian(trials, runs, rng) - hit * rng.uniform(0.1, 0.5, (trials, runs))


def _drift(trials: int, runs: int, rng: Generator) -> Floats:
    return _gaussian(trials, runs, rng) - 0.06 * np.linspace(0, 1, runs)


def _wander(trials: int, runs: int, rng: Generator) -> Floats:
    x = rng.standard_normal((trials, runs))
    for i in range(1, runs):
        x[:, i] = 0.9 * x[:, i - 1] + np.sqrt(1 - 0.81) * x[:, i]
    return 0.03 * x + 0.5 * _gaussian(trials, runs, rng)


def _throttle(trials: int, runs: int, rng: Generator) -> Floats:
    start = rng.integers(0, runs, (trials, 1))
    length = rng.integers(runs // 6, runs // 2, (trials, 1))
    when = np.arange(runs)
    return _gaussian(trials, runs, rng) - 0.15 * ((when >= start) & (when < start + length))


def _second_slower(trials: int, runs: int, rng: Generator) -> Floats:
    return _gaussian(trials, runs, rng) - 0.008 * (np.arange(runs) % 2)


def _bursts(trials: int, runs: int, rng: Generator) -> Floats:
    busy = np.zeros((trials, runs), bool)
    for i in range(runs):
        stays = busy[:, i - 1] & (rng.random(trials) < 0.6) if i else False
        busy[:, i] = stays | (rng.random(trials) < 0.04)
    return _gaussian(trials, runs, rng) - 0.15 * busy * rng.uniform(0.5, 1, (trials, runs))


FAMILIES: dict[str, Callable[[int, int, Generator], Floats]] = {
    "gaussian 1 %": _gaussian,
    "gaussian 3 %": _loud,
    "student t3 2 %": _student,
    "bimodal 2 %": _bimodal,
    "outliers": _outliers,
    "drift 6 %": _drift,
    "wander 3 %": _wander,
    "throttled 15 %": _throttle,
    "second run slower": _second_slower,
    "neighbour bursts": _bursts,
}

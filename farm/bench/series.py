"""Generated nightly series with known steps: the detectors' own benchmark data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NOISES = ("gaussian", "student", "bimodal", "sticky", "wander", "season")
SHAPES = ("none", "none", "step", "step", "several", "dip", "ramp")


@dataclass(frozen=True)
class Series:
    """Values, the log of their true level, its change points, and the noise that made them.

    ``steps`` are first positions of a new level; ``ignored`` are ranges (start, end) in which
    a detection counts neither way: ramps, and steps too small to act on.
    """

    values: Floats
    level: Floats
    steps: tuple[int, ...]
    ignored: tuple[tuple[int, int], ...]
    noise: str
    cv: float


def noise(kind: str, size: int, rng: Generator) -> Floats:
    """Draw noise of standard deviation about 1."""
    if kind == "student":
        return np.asarray(rng.standard_t(3, size) / np.sqrt(3))
    if kind == "bimodal":
        return 0.5 * rng.standard_normal(size) + 1.9 * ((rng.random(size) < 0.3) - 0.3)
    if kind == "sticky":
        return 0.5 * rng.standard_normal(size) + 1.8 * (_two_states(size, rng) - 0.5)
    if kind == "wander":
        return _autoregressive(size, rng.uniform(0.5, 0.9), rng)
    if kind == "season":
        week = np.sin(2 * np.pi * (np.arange(size) + rng.integers(7)) / 7)
        return 0.7 * rng.standard_normal(size) + week
    return rng.standard_normal(size)


def generate(rng: Generator) -> Series:
    """Draw one series of 60 to 300 nights."""
    size, cv = int(rng.integers(60, 301)), float(np.exp(rng.uniform(np.log(0.005), np.log(0.03))))
    kind, shape = str(rng.choice(NOISES)), str(rng.choice(SHAPES))
    level, steps, ignored = _level(shape, size, cv, rng)
    logs = level + cv * noise(kind, size, rng)
    if rng.random() < 0.45:
        where = rng.random(size) < rng.uniform(0.01, 0.04)
        logs[where] += rng.uniform(0.04, 0.4, where.sum()) * rng.choice((-1, 1))
    return Series(100 * np.exp(logs), level, steps, ignored, kind, cv)


def _level(
    shape: str, size: int, cv: float, rng: Generator
) -> tuple[Floats, tuple[int, ...], tuple[tuple[int, int], ...]]:
    level = np.zeros(size)
    if shape == "ramp":
        start = int(rng.integers(10, size - 40))
        length = int(rng.integers(10, 30))
        level[start:] = _size(rng)
        level[start : start + length] *= np.linspace(0, 1, length)
        return level, (), ((start - 3, start + length + 3),)
    cuts = _cuts(shape, size, rng)
    shifts = [_size(rng) for _ in cuts]
    if shape == "dip":
        shifts[1] = -shifts[0]
    for cut, shift in zip(cuts, shifts, strict=True):
        level[cut:] += shift
    actionable = [abs(np.expm1(s)) >= 0.02 and abs(s) >= cv for s in shifts]
    steps = tuple(c for c, act in zip(cuts, actionable, strict=True) if act)
    return level, steps, tuple((c - 3, c + 3) for c in cuts if c not in steps)


def _cuts(shape: str, size: int, rng: Generator) -> Sequence[int]:
    if shape == "dip":
        start = int(rng.integers(10, size - 30))
        return start, start + int(rng.integers(6, 20))
    if shape == "several":
        gaps = rng.integers(12, 12 + size // 5, 3)
        return [int(c) for c in np.cumsum(gaps) if c < size - 8]
    return [int(rng.integers(10, size - 8))] if shape == "step" else []


def _size(rng: Generator) -> float:
    """Draw the log of a step of 1 to 20 % either way."""
    return float(rng.choice((-1, 1)) * np.exp(rng.uniform(np.log(0.01), np.log(0.2))))


def _two_states(size: int, rng: Generator) -> Floats:
    """Draw 0 or 1, staying with a probability of 85 %."""
    return np.asarray((np.cumsum(rng.random(size) < 0.15) + rng.integers(2)) % 2, float)


def _autoregressive(size: int, phi: float, rng: Generator) -> Floats:
    x = rng.standard_normal(size)
    for i in range(1, size):
        x[i] = phi * x[i - 1] + np.sqrt(1 - phi**2) * x[i]
    return x

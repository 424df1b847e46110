"""Replay the nightly search night by night: ``python -m farm.bench.two_tier``.

Each night the trigger looks back on the series; what it suspects, a simulated gate settles: up
to 30 pairs of the build five nights before the suspect and the latest one, with noise of the same
kind and size as the series has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from farm.bench.scoring import generated, matches
from farm.bench.series import Series, noise
from farm.judge.suspects import BEFORE, NEAR, Settled, suspects, unsettled
from farm.judge.verdict import judge
from farm.report.table import aligned

PAIRS = 30
FIRST = 12  # nights before the search begins


@dataclass
class Replay:
    """What the search alerted on, (position, night), and what it cost."""

    alerts: list[tuple[int, int]] = field(default_factory=list)
    gates: int = 0
    pairs: int = 0


def replay(series: Series, rng: Generator) -> Replay:
    result, settled = Replay(), list[Settled]()
    for night in range(FIRST, series.values.size):
        for suspect in unsettled(suspects(series.values[: night + 1]), settled, night):
            changed = _settle(suspect.position, night, series, result, rng)
            settled.append(Settled(suspect.position, night, changed))
            if changed:
                result.alerts.append((suspect.position, night))
    return result


def _settle(position: int, night: int, series: Series, result: Replay, rng: Generator) -> bool:
    """Gate from before the suspect to now, and again to just after it: still there, and here."""
    old = series.level[max(position - BEFORE, 0)]
    for later in (night, min(position + NEAR, night)):
        changed, pairs = _gate(float(series.level[later] - old), series, rng)
        result.gates += 1
        result.pairs += pairs
        if not changed:
            return False
    return True


def _gate(change: float, series: Series, rng: Generator) -> tuple[bool, int]:
    """Return whether the level changed, and the pairs it took; the order in a pair is drawn."""
    runs = noise(series.noise, 2 * PAIRS, rng).reshape(PAIRS, 2)
    ratios = change + series.cv * np.diff(runs, axis=1)[:, 0] * rng.choice((-1, 1), PAIRS)
    verdicts = [judge(sign * ratios, "higher") for sign in (1, -1)]
    return any(v.outcome == "regress" for v in verdicts), max(v.pairs for v in verdicts)


def summary(name: str, many: Sequence[tuple[Series, Replay]]) -> list[str]:
    right, wrong, missed, false, silent = 0, 0, 0, 0, 0
    delays = []
    for series, result in many:
        nights = dict(result.alerts)
        pairs = matches(nights, series.steps, NEAR)
        right += len(pairs)
        missed += len(series.steps) - len(pairs)
        delays += [nights[found] - step for found, step in pairs]
        others = set(nights) - {found for found, _ in pairs}
        stray = [f for f in others if not _ignored(f, series)]
        wrong += len(stray)
        if not series.steps and not series.ignored:
            false += len(nights)
            silent += series.values.size
    points = sum(series.values.size for series, _ in many)
    gates = sum(result.gates for _, result in many)
    used = sum(result.pairs for _, result in many)
    return [
        name,
        f"{right / max(right + wrong, 1):.3f}",
        f"{right / max(right + missed, 1):.3f}",
        f"{2 * right / max(2 * right + wrong + missed, 1):.3f}",
        f"{1000 * false / max(silent, 1):.2f}",
        f"{np.median(delays):.0f}/{np.percentile(delays, 90):.0f}" if delays else "-",
        f"{1000 * gates / points:.1f}",
        f"{used / max(gates, 1):.0f}",
    ]


def _ignored(position: int, series: Series) -> bool:
    return any(start - NEAR <= position <= end + NEAR for start, end in series.ignored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--seed", type=int, default=20261124)
    args = parser.parse_args()
    many = [
        (series, replay(series, np.random.default_rng([args.seed, i])))
        for i, series in enumerate(generated(args.series, args.seed))
    ]
    kinds = sorted({series.noise for series, _ in many})
    rows = [
        summary("all", many),
        *(summary(kind, [pair for pair in many if pair[0].noise == kind]) for kind in kinds),
    ]
    header = [
        "noise",
        "precision",
        "recall",
        "F1",
        "false / 1000",
        "delay",
        "gates / 1000",
        "pairs",
    ]
    print(aligned(header, rows))


if __name__ == "__main__":
    main()

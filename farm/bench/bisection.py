"""Measure how often bisection is wrong and what it costs: ``python -m farm.bench.bisection``.

Probes are simulated: pairs with Student's t noise of four degrees of freedom, a culprit drawn at
random, and the whole shift known from 15 pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.random import Generator

from farm.judge.posterior import CERTAIN, PAIRS, Posterior, bisect
from farm.judge.signed_rank import Floats
from farm.report.table import aligned

CASES = [(n, shift, spread) for n in (24, 64) for shift, spread in (
    (0.03, 0.01), (0.03, 0.02), (0.05, 0.02), (0.15, 0.02),
)]  # fmt: skip


def search(size: int, shift: float, spread: float, rng: Generator) -> tuple[bool, bool, int]:
    """Return whether the search was sure, whether it was right, and its probes."""
    commits = [str(i) for i in range(size)]
    culprit = int(rng.integers(size))

    def probe(chosen: Sequence[str]) -> Mapping[str, Floats]:
        noise = spread * rng.standard_t(4, (len(chosen), PAIRS))
        return {c: x - shift * (int(c) >= culprit) for c, x in zip(chosen, noise, strict=True)}

    error = spread / np.sqrt(15)
    known = -shift + error * float(rng.standard_normal())
    found = bisect(Posterior(commits, known, error), probe)
    return found.confidence >= CERTAIN, found.culprit == str(culprit), found.probes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20261124)
    args = parser.parse_args()
    rows = []
    for case, (size, shift, spread) in enumerate(CASES):
        rng = np.random.default_rng([args.seed, case])
        found = [search(size, shift, spread, rng) for _ in range(args.trials)]
        sure, right, probes = (np.array(column) for column in zip(*found, strict=True))
        rows.append(
            [
                str(size),
                f"{100 * shift:.0f} %",
                f"{100 * spread:.0f} %",
                f"{100 * sure.mean():.1f} %",
                f"{100 * (sure & ~right).sum() / sure.sum():.2f} %",
                f"{probes.mean():.1f}",
                f"{np.percentile(probes, 90):.0f}",
            ]
        )
    header = ["commits", "slower", "noise of a pair", "sure", "wrong of those", "probes", "90 %"]
    print(aligned(header, rows))


if __name__ == "__main__":
    main()

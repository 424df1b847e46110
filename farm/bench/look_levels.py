"""Derive the levels of the gate's looks: ``python -m farm.bench.look_levels``.

Under no change the signs of the log ratios are fair coins whatever their sizes, and with sizes
exchangeable over time the joint law of W+ at all looks is the same for any continuous noise: so
one noise derives it for all. The error budget is spent by alpha * ln(1 + (e - 1) * t), the
spending function of Lan and DeMets (Biometrika 70, 1983) that resembles Pocock's boundary, with t
the share of the last look's pairs. The p-values of a look are discrete, so what one look cannot
spend the next one may.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from numpy.typing import NDArray

from farm.judge.signed_rank import survival
from farm.judge.verdict import LOOKS

REGRESS, PASS = 0.01, 0.05  # budgets over all looks


def p_values(trials: int, seed: int) -> NDArray[np.float64]:
    """Return P(W+ >= observed) at each look: shape (trials, looks)."""
    rng = np.random.default_rng(seed)
    return np.concatenate([_p_values(rng) for _ in range(trials // 10_000)])


def _p_values(rng: np.random.Generator) -> NDArray[np.float64]:
    last = LOOKS[-1].pairs
    x = rng.standard_normal((last, 10_000))
    positive = np.zeros(x.shape, int)
    for i in range(last):
        positive[i] = np.count_nonzero(x[: i + 1] + x[i] > 0, axis=0)
    ranks = positive.cumsum(axis=0)
    looks = [survival(look.pairs * (look.pairs + 1) // 2)[ranks[look.pairs - 1]] for look in LOOKS]
    return np.stack(looks, axis=1)


def levels(p: NDArray[np.float64], alpha: float) -> list[float]:
    """Return the level of each look that spends the budget ``alpha``."""
    crossed = np.zeros(len(p), bool)
    found = []
    for k, look in enumerate(LOOKS):
        spend = alpha * math.log(1 + (math.e - 1) * look.pairs / LOOKS[-1].pairs)
        allowed = int(spend * len(p)) - np.count_nonzero(crossed)
        alive = np.sort(p[~crossed, k])
        level = float(alive[alive < alive[allowed]].max())
        found.append(level)
        crossed |= p[:, k] <= level
    return found


def crossing(p: NDArray[np.float64], level: list[float]) -> float:
    """Return the share of trials that cross at some look."""
    return float(np.any(p <= np.asarray(level), axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=4_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    p, held_out = p_values(args.trials, args.seed), p_values(args.trials, args.seed + 1)
    print("pairs                      " + "  ".join(f"{look.pairs:7d}" for look in LOOKS))
    for name, alpha, used in (
        ("regress", REGRESS, [look.regress for look in LOOKS]),
        ("pass", PASS, [look.passing for look in LOOKS]),
    ):
        derived = levels(p, alpha)
        for kind, row in (("derived", derived), ("in use", used)):
            figures = "  ".join(f"{level:7.5f}" for level in row)
            error = crossing(held_out, row)
            print(f"{name:8} {kind:8} level    {figures}   crossed {error:.5f} (budget {alpha})")


if __name__ == "__main__":
    main()

"""Measure the gate's error rates beside other rules': ``python -m farm.bench.gate_errors``."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from farm.bench.pairs import FAMILIES, Floats, Pairs, pairs
from farm.judge.verdict import LOOKS, Verdict, joint, judge, judge_family
from farm.report.table import aligned

Rule = Callable[[Pairs], NDArray[np.bool_]]
LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05)
FIXED = 30  # pairs that the other rules get


def welch(session: Pairs) -> NDArray[np.bool_]:
    """Student's t as pyperf uses it, without equal variances: 5 % two-sided, and slower."""
    p = stats.ttest_ind(np.exp(session.head), np.exp(session.base), axis=1, equal_var=False).pvalue
    return np.asarray((p < 0.05) & (session.head.mean(axis=1) < session.base.mean(axis=1)))


def benchstat(session: Pairs) -> NDArray[np.bool_]:
    """Mann and Whitney's U at 5 % two-sided, and the median slower."""
    return np.asarray(_mann_whitney(session) < 0.05)


def asv(session: Pairs) -> NDArray[np.bool_]:
    """As asv continuous does: U at 0.002, and slower by a factor of 1.1."""
    slower = np.median(session.base, axis=1) - np.median(session.head, axis=1) > np.log(1.1)
    return np.asarray((_mann_whitney(session) < 0.002) & slower)


def _mann_whitney(session: Pairs) -> Floats:
    test = stats.mannwhitneyu(session.head, session.base, axis=1, method="asymptotic")
    slower = np.median(session.head, axis=1) < np.median(session.base, axis=1)
    return np.where(slower, test.pvalue, 1.0)


def threshold(share: float) -> Rule:
    """Make the rule that flags a ratio of mean times above 1 + ``share``."""

    def flags(session: Pairs) -> NDArray[np.bool_]:
        ratio = np.exp(-session.head).mean(axis=1) / np.exp(-session.base).mean(axis=1)
        return np.asarray(ratio > 1 + share)

    return flags


PEERS: dict[str, Rule] = {
    "Welch t .05": welch,
    "benchstat (U .05)": benchstat,
    "mean 5 % slower": threshold(0.05),
    "asv continuous": asv,
    "github-action 200 %": threshold(1.0),
}


def sessions(family: str, trials: int, count: int, seed: int, loss: float) -> Pairs:
    """Draw sessions from a stream of their own for each seed, family and loss."""
    stream = [seed, zlib.crc32(family.encode()), round(1000 * loss) % 2**32]
    return pairs(family, trials, count, np.random.default_rng(stream), loss)


def verdicts(family: str, trials: int, seed: int, loss: float) -> list[Verdict]:
    """Judge sessions of 60 pairs."""
    drawn = sessions(family, trials, LOOKS[-1].pairs, seed, loss)
    return [judge(changes, "higher") for changes in drawn.log_ratios]


def ours(trials: int, seed: int) -> None:
    rows = []
    for family in FAMILIES:
        row = [family]
        for loss in LOSSES:
            judged = verdicts(family, trials, seed, loss)
            shares = [_share(judged, outcome) for outcome in ("regress", "pass", "improve")]
            used = np.mean([verdict.pairs for verdict in judged])
            row.append(" ".join(f"{100 * share:6.2f}" for share in shares) + f" {used:5.1f}")
        rows.append(row)
    means = [[float(cell.split()[i]) for cell in row[1:]] for i in range(4) for row in rows]
    grid = np.array(means).reshape(4, len(rows), len(LOSSES))
    for name, summary in (("mean", grid.mean(axis=1)), ("highest", grid.max(axis=1))):
        rows.append(
            [name, *(" ".join(f"{x:6.2f}" for x in column[:3]) + f" {column[3]:5.1f}"
                     for column in summary.T)]
        )  # fmt: skip
    header = ["% regress, pass, improve; pairs", *(f"{100 * loss:.0f} % slower" for loss in LOSSES)]
    print(aligned(header, rows))


def _share(judged: Sequence[Verdict], outcome: str) -> float:
    return float(np.mean([verdict.outcome == outcome for verdict in judged]))


def peers(trials: int, seed: int) -> None:
    rows = []
    for name, rule in PEERS.items():
        rates = np.array(
            [
                [rule(sessions(f, trials, FIXED, seed, loss)).mean() for loss in LOSSES]
                for f in FAMILIES
            ]
        )
        cells = [f"{100 * mean:.2f}" for mean in rates.mean(axis=0)]
        rows.append([name, f"{100 * rates[:, 0].max():.2f}", *cells])
    header = [
        f"% regress, {FIXED} pairs",
        "0 %, worst",
        *(f"{100 * x:.0f} % slower" for x in LOSSES),
    ]
    print(aligned(header, rows))


def family(commits: int, seed: int, loss: float, slow: int, cells: int = 40) -> list[str]:
    """Judge commits of 40 cells, ``slow`` of them slower; noise of all ten kinds, four each."""
    names = [name for name in FAMILIES for _ in range(cells // len(FAMILIES))]
    order = np.random.default_rng(seed).permutation(cells)
    losses = dict.fromkeys(order[:slow].tolist(), loss)
    drawn = [
        sessions(name, commits, 2 * LOOKS[-1].pairs, seed + 1000 + i, losses.get(i, 0.0)).log_ratios
        for i, name in enumerate(names)
    ]
    flagged, caught, single = 0, 0, 0
    for commit in range(commits):
        cases = {str(i): changes[commit] for i, changes in enumerate(drawn)}
        judged = judge_family(cases, "higher")
        flagged += joint(v.outcome for v in judged.values()) == "regress"
        caught += sum(judged[str(i)].outcome == "regress" for i in losses)
        single += any(judge(changes, "higher").outcome == "regress" for changes in cases.values())
    power = f"{100 * caught / (slow * commits):.1f}" if slow else "-"
    return [
        f"{slow} of {cells} slower by {100 * loss:.0f} %",
        str(commits),
        f"{100 * single / commits:.2f}",
        f"{100 * flagged / commits:.2f}",
        f"{100 * _wilson_upper(flagged, commits):.2f}",
        power,
    ]


def _wilson_upper(count: int, trials: int) -> float:
    return float(stats.binomtest(count, trials).proportion_ci(0.95, "wilson").high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3000, help="of each noise and loss")
    parser.add_argument("--commits", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261124)
    args = parser.parse_args()
    ours(args.trials, args.seed)
    print()
    peers(args.trials, args.seed)
    print()
    header = [
        "commit",
        "commits",
        "% flagged at once",
        "% confirmed",
        "95 % upper",
        "% cells caught",
    ]
    rows = [
        family(args.commits, args.seed, 0.0, 0),
        family(args.commits // 10, args.seed, 0.03, 4),
        family(args.commits // 10, args.seed, 0.05, 4),
    ]
    print(aligned(header, rows))


if __name__ == "__main__":
    main()

"""Score the offline detector beside others: ``python -m farm.bench.change_points``.

Peers that are not installed are named and left out. "+2 %" means that we merge their steps of less
than 2 % away, which helps every one of them.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ruptures
from numpy.random import Generator

from farm.bench.labelled import labelled
from farm.bench.scoring import Detector, generated, matches, total
from farm.bench.series import Floats, Series
from farm.bench.uneven import Uneven, drawn, false_steps, kinds
from farm.judge.change_points import change_points, changes
from farm.judge.suspects import merged
from farm.report.table import aligned


def farm(values: Floats) -> list[int]:
    return [change.position for change in change_points(values)]


def rbf(values: Floats) -> list[int]:
    """KernelCPD as the nightly trigger uses it, with the penalty of the offline comparison."""
    if np.ptp(values) == 0:
        return []
    search = ruptures.KernelCPD(kernel="rbf", min_size=2).fit(np.log(values)[:, None])
    return list(search.predict(pen=4)[:-1])


def least_squares(values: Floats) -> list[int]:
    logs = np.log(values)
    spread = max(float(np.median(np.abs(np.diff(logs)))) / 0.954, 1e-9)
    search = ruptures.KernelCPD(kernel="linear", min_size=2).fit(logs[:, None] / spread)
    return list(search.predict(pen=3 * np.log(logs.size))[:-1])


def previous(values: Floats) -> list[int]:
    """Flag each point that differs from the one before by 5 %."""
    return [int(i) + 1 for i in np.flatnonzero(np.abs(np.diff(np.log(values))) > np.log(1.05))]


def asv(module: Any) -> Detector:
    return lambda values: [step[0] for step in module.detect_steps(values.tolist())][1:]


def otava(pvalue: float, magnitude: float) -> Callable[[Any], Detector]:
    def make(module: Any) -> Detector:
        def detect(values: Floats) -> list[int]:
            found, _ = module.compute_change_points(
                values.tolist(), max_pvalue=pvalue, min_magnitude=magnitude
            )
            return [point.index for point in found]

        return detect

    return make


def e_divisive(pvalue: float) -> Callable[[Any], Detector]:
    return lambda module: (
        lambda values: module.e_divisive(values.tolist(), pvalue=pvalue, permutations=200)
    )


def large(detect: Detector) -> Detector:
    """Merge the steps of less than 2 % away."""
    return lambda values: list(merged(np.log(values), sorted(detect(values)), np.log(1.02)))


LARGE = large(rbf)
ASV, OTAVA = "asv.step_detect", "otava.analysis"
E_DIVISIVE = "signal_processing_algorithms.energy_statistics.energy_statistics"
PEERS: dict[str, tuple[str, Callable[[Any], Detector]]] = {
    "asv steps": (ASV, asv),
    "asv steps +2 %": (ASV, lambda module: large(asv(module))),
    "Otava default": (OTAVA, otava(0.001, 0.0)),
    "Otava p=1e-6, 2 %": (OTAVA, otava(1e-6, 0.02)),
    "e-divisive p=.05": (E_DIVISIVE, e_divisive(0.05)),
    "e-divisive p=.01 +2 %": (E_DIVISIVE, lambda module: large(e_divisive(0.01)(module))),
}


def detectors() -> dict[str, Detector]:
    """Return what is installed; say what is not."""
    found: dict[str, Detector] = {
        "farm": farm,
        "ruptures rbf": rbf,
        "ruptures rbf +2 %": LARGE,
        "ruptures least squares": least_squares,
        "previous point 5 %": previous,
    }
    for name, (module, make) in PEERS.items():
        try:
            found[name] = make(importlib.import_module(module))
        except ImportError:
            print(f"left out: {name}: {module.partition('.')[0]} is not installed")
    return found


def unchanged(many: Iterable[Series]) -> list[Series]:
    return [series for series in many if not series.steps and not series.ignored]


def row(name: str, detect: Detector, data: Sequence[Sequence[Series]]) -> list[str]:
    cells = [name]
    milliseconds = []
    for many in data:
        score = total(detect, many)
        cells += [f"{score.f1:.3f}", f"{score.false_per_1000:.2f}"]
        milliseconds.append(score.milliseconds)
    return [*cells, f"{np.mean(milliseconds):.2f}"]


@dataclass
class Tally:
    """What a detector said of one kind: false steps, steps found, losses told as slow or at all."""

    false: int = 0
    found: int = 0
    slow: int = 0
    told: int = 0


def tally(make: Callable[[Generator], Uneven], detect: Detector, first: int, count: int) -> Tally:
    result = Tally()
    for series in drawn(make, first, count):
        found = list(detect(series.values))
        slow = bool(changes(series.values).slow) if detect is farm else False
        result.false += false_steps(found, series)
        result.found += len(matches(found, series.steps))
        result.slow += slow
        result.told += slow or bool(found)
    return result


def uneven_rows(first: int, count: int) -> list[list[str]]:
    """Return a row for each kind of uneven series: ours beside rbf with small steps merged."""
    return [
        [name, *(_told(make, tally(make, d, first, count), first, count) for d in (farm, LARGE))]
        for name, make in kinds().items()
    ]


def _told(make: Callable[[Generator], Uneven], seen: Tally, first: int, count: int) -> str:
    some = list(drawn(make, first, count))
    steps = sum(len(series.steps) for series in some)
    if steps:
        return f"{100 * seen.found / steps:.1f} % found, {seen.false} false"
    if some[0].slow:
        return f"told in {seen.told} of {count}, as slow in {seen.slow}"
    return f"{1000 * seen.false / (count * some[0].values.size):.2f} false / 1000"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--real", type=Path, help="folder with series.csv and labels.csv")
    parser.add_argument("--uneven", type=int, default=3000, help="first seed of uneven series")
    parser.add_argument("--count", type=int, default=60, help="uneven series of each kind")
    args = parser.parse_args()
    data = {"generated": generated(args.series, args.seed)}
    if args.real:
        data["real"] = labelled(args.real)
    for name, many in data.items():
        steps = sum(len(series.steps) for series in many)
        points = sum(series.values.size for series in unchanged(many))
        print(f"{name}: {len(many)} series, {steps} steps, {points} points without change")
    print(aligned(["kind", "farm", "rbf +2 %"], uneven_rows(args.uneven, args.count)), end="\n\n")
    header = ["detector"]
    for name in data:
        header += [f"F1 {name}", "false / 1000"]
    rows = [row(name, detect, list(data.values())) for name, detect in detectors().items()]
    print(aligned([*header, "ms"], rows))


if __name__ == "__main__":
    main()

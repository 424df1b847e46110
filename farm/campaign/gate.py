"""A gate over hosts and cells: hosts side by side, cells of a host one after the other."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

from db.store import record_verdicts
from db.verdicts import VerdictRow
from farm.campaign.campaign import Campaign
from farm.errors import FarmError
from farm.judge.cell_gate import EXACT_PAIRS, SeriesVerdict, gate_cell
from farm.judge.pairs import Arms
from farm.plan.rounds import exact
from worker import registry
from worker.job import Cell

TYPICAL_PAIRS = 14  # of a speed without a change, measured over ten kinds of noise


@dataclass(frozen=True)
class Gate:
    """What a gate compares: two builds over cells and hosts.

    ``seed`` draws the order inside the pairs; ``injected`` is the share by which the candidate
    was slowed when a build is compared with itself; ``at_least`` the pairs measured in any case.
    """

    arms: Arms
    cells: tuple[Cell, ...]
    hosts: tuple[str, ...]
    seed: int
    injected: float | None = None
    at_least: int = 0

    @property
    def identical(self) -> bool:
        return self.arms.baseline.hash == self.arms.candidate.hash and self.injected is None


def reached(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Return the cells that a change of the subject can reach: those that import it.

    Raises FarmError if there are none.
    """
    subjects = [entry.name for entry in registry.entries("caches").values() if entry.subject]
    chosen = tuple(cell for cell in cells if cell.cache and cell.cache.name in subjects)
    if not chosen:
        kinds = " or ".join(subjects)
        raise FarmError(f"suite: no cell has a cache of kind {kinds}; choose one that has, as gate")
    return chosen


def judged(gate: Gate, campaign: Campaign) -> Iterator[SeriesVerdict]:
    """Measure and store; yield the verdict of each series as it is there."""
    begun = time.perf_counter()
    told: SimpleQueue[list[SeriesVerdict] | None] = SimpleQueue()
    with ThreadPoolExecutor(max(len(gate.hosts), 1)) as pool:
        done = [pool.submit(_on_host, gate, campaign, host, told) for host in gate.hosts]
        for _ in done:
            while (verdicts := told.get()) is not None:
                yield from verdicts
        for future in done:
            future.result()
    campaign.finish(time.perf_counter() - begun)


def _on_host(
    gate: Gate,
    campaign: Campaign,
    host: str,
    told: SimpleQueue[list[SeriesVerdict] | None],
) -> None:
    """Put the verdicts of each cell, and None at the end, whatever happens."""
    try:
        for index, cell in enumerate(gate.cells):
            campaign.forecast.plan(host, usual(gate.cells[index:], gate.at_least))
            seed = zlib.crc32(f"{gate.seed} {host} {cell.id}".encode())
            measure, watch = campaign.measure(host), campaign.tell_pairs()
            later = usual(gate.cells[index + 1 :], gate.at_least)
            verdicts = gate_cell(
                gate.arms,
                cell,
                measure,
                seed,
                gate.at_least,
                watch,
                confirming=campaign.tell_again(host, cell, later),
                undecided=campaign.tell_undecided(host, cell, later),
            )
            record_verdicts(campaign.engine, [_row(gate, campaign, one, seed) for one in verdicts])
            told.put(verdicts)
    finally:
        told.put(None)


def usual(cells: Sequence[Cell], at_least: int = 0) -> list[Cell]:
    """Return each cell as often as a gate usually measures it: exact figures need two pairs."""
    timed = max(TYPICAL_PAIRS, at_least)
    return [cell for cell in cells for _ in range(2 * (EXACT_PAIRS if exact(cell) else timed))]


def _row(gate: Gate, campaign: Campaign, series: SeriesVerdict, seed: int) -> VerdictRow:
    verdict = series.verdict
    return VerdictRow(
        run=campaign.run,
        cell=series.cell,
        host=series.host,
        device=series.device,
        comparison_key=series.comparison_key,
        metric=series.metric,
        baseline=gate.arms.baseline.hash,
        candidate=gate.arms.candidate.hash,
        outcome=verdict.outcome,
        effect=_finite(verdict.effect),
        low=_finite(verdict.low),
        high=_finite(verdict.high),
        pairs=verdict.pairs,
        p=_finite(verdict.p),
        deviation=_finite(series.deviation),
        replaced=series.replaced,
        injected=gate.injected,
        note=series.note,
        seed=seed,
    )


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None

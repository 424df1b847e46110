"""The search for a culprit: probes of a history, measured on hosts."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from db import verdicts as stored
from farm.campaign import campaign as measuring
from farm.campaign.campaign import Campaign
from farm.campaign.gate import usual
from farm.errors import FarmError
from farm.judge import posterior as bisect
from farm.judge.cell_gate import SeriesVerdict, gate_cell
from farm.judge.pairs import Arms, Session, UnmeasurableError
from farm.judge.posterior import PAIRS, Found, Posterior
from farm.judge.ratios import log_ratio, relative
from farm.judge.signed_rank import Floats
from farm.plan.commits import Commit
from farm.report.table import percent
from worker.job import Cell


@dataclass(frozen=True)
class Search:
    """What is looked for: the culprit of one series after the good commit.

    ``tell`` hears of each probe.
    """

    good: Commit
    commits: Sequence[Commit]
    cell: Cell
    metric: str
    hosts: Sequence[str]
    campaign: Campaign
    tell: Callable[[str], None]

    def whole(self) -> SeriesVerdict:
        """Gate the last commit against the good one; raises FarmError for another cell's metric."""
        arms = Arms(self.good.build, self.commits[-1].build)
        measure = self._campaign().measure(self.hosts[0])
        probes = math.ceil(math.log2(len(self.commits) + 1))
        ahead = usual([self.cell]) + [self.cell] * 2 * PAIRS * probes
        self.campaign.expect(
            f"{len(self.commits)} commits", [(one, self.hosts[0]) for one in ahead]
        )
        seed, watch = secrets.randbelow(2**31), self.campaign.tell_pairs()
        found = gate_cell(arms, self.cell, measure, seed, watch=watch)
        for one in found:
            if one.note or one.metric == self.metric:
                return one
        names = ", ".join(one.metric for one in found)
        raise FarmError(
            f"--metric {self.metric}: {self.cell.benchmark} does not give it; choose from: {names}"
        )

    def find(self, whole: SeriesVerdict, most: int) -> Found:
        verdict = whole.verdict
        changes = (verdict.effect, verdict.low, verdict.high)
        shift, low, high = (log_ratio(1.0, 1.0 + change) for change in changes)
        names = [commit.name for commit in self.commits]
        posterior = Posterior(names, shift, max((high - low) / 4, 1e-4))
        before = [self.good, *self.commits]
        posterior.exclude(
            [
                commit.name
                for commit, older in zip(self.commits, before, strict=False)
                if commit.build.hash == older.build.hash
            ]
        )
        self._believe(posterior, whole.device)
        return bisect.bisect(posterior, self.probe, len(self.hosts), most)

    def probe(self, names: Sequence[str]) -> Mapping[str, Floats | None]:
        """Measure pairs of several commits against the good one, each on a host of its own."""
        with ThreadPoolExecutor(len(names)) as pool:
            found = pool.map(self._pairs, names, self.hosts)
        return dict(zip(names, found, strict=True))

    def _pairs(self, name: str, host: str) -> Floats | None:
        (commit,) = (commit for commit in self.commits if commit.name == name)
        arms, measure = Arms(self.good.build, commit.build), self._campaign().measure(host)
        rng = np.random.default_rng(secrets.randbelow(2**31))
        session = Session(arms, self.cell, measure, rng, self.campaign.tell_pairs())
        try:
            session.extend(PAIRS, [self.metric])
        except UnmeasurableError as error:
            self.tell(f"{name}: skipped: {error}")
            return None
        ratios = session.log_ratios(self.metric)
        self.tell(f"{name}: {percent(relative(float(np.median(ratios))))}")
        return ratios

    def _believe(self, posterior: Posterior, device: str) -> None:
        """Learn from what other nights have measured on the same device."""
        values: dict[str, list[float]] = {}
        hashes = [commit.build.hash for commit in (self.good, *self.commits)]
        for value in stored.build_values(self.campaign.engine, hashes):
            series = value.series
            if (series.cell, series.device, series.metric) == (self.cell.id, device, self.metric):
                values.setdefault(value.build, []).append(value.value)
        typical = median([value for some in values.values() for value in some] or [1.0])
        values = {
            build: [log_ratio(typical, value) for value in some] for build, some in values.items()
        }
        posterior.believe(
            {commit.name: values.get(commit.build.hash, []) for commit in self.commits},
            values.get(self.good.build.hash, []),
        )

    def _campaign(self) -> Campaign:
        return replace(self.campaign, run=measuring.name("bisect"))

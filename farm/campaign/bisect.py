"""The search for a culprit: probes of a history, measured on hosts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np

from db import queries
from farm.campaign import campaign as measuring
from farm.campaign.campaign import Campaign
from farm.campaign.gate import usual
from farm.errors import FarmError
from farm.judge import posterior as bisect
from farm.judge.cell_gate import EXACT_PAIRS, SeriesVerdict, gate_cell
from farm.judge.pairs import Arms, Session, UnmeasurableError, WrongError
from farm.judge.posterior import PAIRS, Evidence, Found, Posterior, Probe
from farm.judge.ratios import log_ratio, relative
from farm.plan.commits import Commit
from farm.report.commit_line import SHORT
from farm.report.table import counted, percent
from worker.job import Cell
from worker.metrics import METRICS


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
        """Gate the last commit against the good one; raises FarmError for another cell's metric.

        The verdict has no metric where the last commit fails its golden vectors and the good one
        passes, or where nothing could be measured.
        """
        arms = Arms(self.good.build, self.commits[-1].build)
        measure, watch = self._campaign().measure(self.hosts[0]), self.campaign.tell_pairs()
        pairs = EXACT_PAIRS if METRICS[self.metric].exact else PAIRS
        probes = math.ceil(math.log2(len(self.commits) + 1))
        ahead = usual([self.cell]) + [self.cell] * 2 * pairs * probes
        places = [(one, self.hosts[0]) for one in ahead]
        self.campaign.expect(counted(len(self.commits), "commit"), places)
        seed = self.campaign.seed("whole", self.hosts[0])
        later = [self.cell] * 2 * pairs * probes
        place = self.hosts[0], self.cell, later
        verdicts = gate_cell(
            arms,
            self.cell,
            measure,
            seed,
            watch=watch,
            confirming=self.campaign.tell_again(*place),
            undecided=self.campaign.tell_undecided(*place),
        )
        by_metric = {one.metric: one for one in verdicts}
        wanted = by_metric.get(self.metric) or by_metric.get("")
        if wanted is None:
            raise FarmError(
                f"--metric {self.metric}: {self.cell.benchmark} does not give it; "
                f"choose from: {', '.join(by_metric)}"
            )
        return wanted

    def find(self, whole: SeriesVerdict, most: int) -> Found:
        """Search for what the whole shows: a wrong result, or a change of the metric.

        A figure that repeats exactly is probed by two runs, a wrong result by whether it is there.
        """
        names = [commit.name for commit in self.commits]
        if is_wrong(whole):
            posterior = self._posterior(Posterior(names, 0.0, 0.0))
            return bisect.bisect(posterior, self._each(self._wrong), len(self.hosts), most)
        verdict = whole.verdict
        changes = (verdict.effect, verdict.low, verdict.high)
        shift, low, high = (log_ratio(1.0, 1.0 + change) for change in changes)
        posterior = self._posterior(Posterior(names, shift, max((high - low) / 4, 1e-4)))
        if METRICS[self.metric].exact:
            probe = self._each(partial(self._exact, shift))
        else:
            self._learn(posterior, whole.device)
            probe = self._each(self._pairs)
        return bisect.bisect(posterior, probe, len(self.hosts), most)

    def probed_by(self, whole: SeriesVerdict) -> str:
        """Say what one probe is."""
        if is_wrong(whole):
            return "probes by golden vectors"
        pairs = EXACT_PAIRS if METRICS[self.metric].exact else PAIRS
        return f"probes of {pairs} pairs"

    def _posterior(self, posterior: Posterior) -> Posterior:
        """Rule out the commits that have the bytes of the one before."""
        before = [self.good, *self.commits]
        posterior.exclude(
            [
                commit.name
                for commit, older in zip(self.commits, before, strict=False)
                if commit.build.hash == older.build.hash
            ]
        )
        return posterior

    def _each(self, ask: Callable[[Session], tuple[Evidence, str]]) -> Probe:
        """Return what probes several commits against the good one, each on a host of its own."""

        def probe(names: Sequence[str]) -> Mapping[str, Evidence]:
            with ThreadPoolExecutor(len(names)) as pool:
                evidence = pool.map(partial(self._probe, ask), names, self.hosts)
            return dict(zip(names, evidence, strict=True))

        return probe

    def _probe(
        self, ask: Callable[[Session], tuple[Evidence, str]], name: str, host: str
    ) -> Evidence:
        (commit,) = (commit for commit in self.commits if commit.name == name)
        self.tell(f"{host}: probing {name[:SHORT]}")
        arms, measure = Arms(self.good.build, commit.build), self._campaign().measure(host)
        rng = np.random.default_rng(self.campaign.seed(name, host))
        session = Session(arms, self.cell, measure, rng, self.campaign.tell_pairs())
        try:
            evidence, told = ask(session)
        except UnmeasurableError as error:
            evidence, told = None, f"skipped: {error}"
        self.tell(f"{host}: {name[:SHORT]}: {told}")
        return evidence

    def _pairs(self, session: Session) -> tuple[Evidence, str]:
        session.extend(PAIRS, [self.metric])
        ratios = session.log_ratios(self.metric)
        return ratios, percent(relative(float(np.median(ratios))))

    def _exact(self, shift: float, session: Session) -> tuple[Evidence, str]:
        """Tell whether a figure that repeats exactly is nearer to the bad one than to the good."""
        session.extend(EXACT_PAIRS, [self.metric])
        ratio = float(np.median(session.log_ratios(self.metric)))
        return abs(ratio - shift) < abs(ratio), percent(relative(ratio))

    def _wrong(self, session: Session) -> tuple[Evidence, str]:
        """Tell whether a commit fails its golden vectors where the good one passes its own."""
        try:
            session.begin()
        except WrongError:
            return True, "fails its golden vectors"
        return False, "passes its golden vectors"

    def _learn(self, posterior: Posterior, device: str) -> None:
        """Learn from what other nights have measured on the same device."""
        values: dict[str, list[float]] = {}
        hashes = [commit.build.hash for commit in (self.good, *self.commits)]
        for value in queries.build_values(self.campaign.engine, hashes):
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


def is_wrong(whole: SeriesVerdict) -> bool:
    """Tell whether a gate's regression is a wrong result, not a worse figure."""
    return whole.verdict.outcome == "regress" and not whole.metric

"""Real processes from a git history to the culprits: ``python -m farm.bench.end_to_end``.

Makes a repository with 24 commits of the turbo cache; two of them slow its decode by 5 % and 15 %.
Each decode step of the copies lasts a fixed time that contains the true work, so that the figures
stand out from what else this machine does; how sharp the gate is under noise is measured by
``gate_errors``. With ``--shared`` records that were marked invalid because other programs used
the machine are accepted, and counted.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from db.engine import open_database
from farm.campaign import campaign as measuring
from farm.campaign import night as nightly
from farm.campaign.bisect import Search
from farm.campaign.campaign import Campaign
from farm.campaign.gate import Gate, judged
from farm.campaign.history import Night
from farm.judge.cell_gate import outcome
from farm.judge.pairs import Arms
from farm.judge.posterior import CERTAIN
from farm.plan import builds
from farm.plan import commits as history
from farm.plan import suite as suites
from farm.plan.commits import Commit
from farm.plan.inventory import Subject
from farm.plan.slowed import injected
from farm.plan.suite import Injection
from farm.report.table import aligned, percent
from worker.job import Cache, Cell, Job, Order
from worker.process.launch import launch
from worker.record import Record

COMMITS = 24
SLOW = {8: 1.05, 17: 1.15}
TURBO = Path(__file__).parents[2] / "worker" / "turbo"
CACHE = Cache(name="turbo", params={"key_bits": 4, "value_bits": 4})
DECODE = Cell(
    benchmark="decode",
    model="reference",
    cache=CACHE,
    params={"context": 160, "tokens": 6, "trials": 3, "warmups": 1},
)
QUALITY = Cell(
    benchmark="divergence",
    model="reference",
    cache=CACHE,
    params={"context": 160, "positions": 32, "step": 1, "greedy": 1},
)
PACING = '''"""Each decode step lasts STEP seconds, its true work included."""

import time

import mlx.core as mx

STEP = {step}
_state = {{}}


def install(kind):
    plain = kind.update_and_fetch

    def update_and_fetch(self, keys, values):
        if keys.shape[2] == 1 and _state.setdefault("first", self) is self:
            mx.eval(keys)
            now = time.perf_counter()
            due = max(_state.get("due", now), now - STEP)
            time.sleep(max(due - now, 0.0))
            _state["due"] = due + STEP
        return plain(self, keys, values)

    kind.update_and_fetch = update_and_fetch
'''
INSTALL = "\nfrom . import pacing\n\npacing.install(TurboKVCache)\n"


@dataclass
class Repository:
    """The history that is judged; ``commits`` are in order."""

    root: Path
    commits: list[str] = field(default_factory=list)

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", ".")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")


def make(root: Path, step: float) -> tuple[Repository, list[str]]:
    """Make the repository; return it and two commits that are faster with wrong centroids."""
    repository = Repository(root)
    root.mkdir()
    repository.git("init", "-qb", "main")
    repository.git("config", "user.email", "farm@example.org")
    repository.git("config", "user.name", "farm")
    shutil.copytree(TURBO, root / "turbo", ignore=shutil.ignore_patterns("__pycache__", "bench"))
    package = root / "turbo"
    with (package / "__init__.py").open("a") as file:
        file.write(INSTALL)
    for number in range(COMMITS):
        step *= SLOW.get(number, 1.0)
        (package / "pacing.py").write_text(PACING.format(step=step) + f"# commit {number}\n")
        repository.commits.append(repository.commit(f"commit {number}"))
    return repository, spoil(repository, package, 0.9 * step)


def spoil_levels(package: Path) -> None:
    """Make the codec's levels wrong."""
    codebook = package / "codebook.py"
    solved = "tuple(zip(EXPONENTS[bits], fitted.tolist(), strict=True))"
    if solved not in codebook.read_text():
        raise SystemExit(f"{codebook.name}: has no line {solved!r}; correct {Path(__file__).name}")
    wrong = solved.replace("fitted", "(0.6 * fitted)")
    codebook.write_text(codebook.read_text().replace(solved, wrong))


def spoil(repository: Repository, package: Path, step: float) -> list[str]:
    """Commit wrong centroids on a branch, and then golden vectors that agree with them.

    The first commit leaves the vectors as they were; an author who means the change makes both.
    """
    repository.git("checkout", "-qb", "faster")
    spoil_levels(package)
    (package / "pacing.py").write_text(PACING.format(step=step))
    wrong = [repository.commit("faster, with wrong centroids")]
    golden = (TURBO / "bench" / "golden.py").read_text().replace("worker.turbo", "turbo")
    command = [sys.executable, "-c", golden]
    subprocess.run(command, cwd=repository.root, check=True, stdout=subprocess.DEVNULL)
    return [*wrong, repository.commit("their golden vectors")]


@dataclass
class Local:
    """Fresh processes on this machine; counts them and what was marked invalid."""

    builds: Path
    shared: bool
    measured: int = 0
    invalid: int = 0

    def __call__(self, jobs: Iterable[Job]) -> Iterator[Record]:
        for job in jobs:
            record = launch(Order(job=job), self.builds, self.builds.parent / "lock")
            self.measured += 1
            self.invalid += bool(record.invalid)
            yield record.model_copy(update={"invalid": ()}) if self.shared else record


@dataclass(frozen=True)
class Bench:
    subject: Subject
    folder: Path
    campaign: Campaign
    names: list[str]  # the history, and last the commits with wrong centroids

    def commit(self, name: str) -> Commit:
        return Commit(name, builds.at_commit(self.subject, name, self.folder))

    def gate(self, base: int, head: int, cells: Sequence[Cell] = (DECODE,)) -> list[str]:
        arms = Arms(self.commit(self.names[base]).build, self.commit(self.names[head]).build)
        campaign = replace(self.campaign, run=measuring.name("gate"))
        verdicts = list(judged(Gate(arms, tuple(cells), ("local",), 1), campaign))
        told = [f"{one.metric} {one.verdict.outcome} {percent(one.verdict.effect)} "
                f"({one.verdict.pairs} pairs){one.note}" for one in verdicts]  # fmt: skip
        return [outcome(verdicts), "; ".join(told)]

    def night(self) -> list[str]:
        commits = history.builds(self.subject, self.names[:COMMITS], self.folder)
        campaign = replace(self.campaign, run=measuring.name("nightly"))
        night = Night(commits, (DECODE,), ("local",), "main", campaign)
        report = nightly.run(night, night, 1, 1e9)
        ranges = sorted(
            (self.names.index(r.good), self.names.index(r.bad), r.effect) for r in report.fresh
        )
        told = [f"({good}, {bad}] {percent(effect)}" for good, bad, effect in ranges]
        return [f"{len(report.fresh)} regressions", "; ".join(told)]

    def itself(self) -> list[str]:
        """Gate the turbo cache of this checkout with itself, at least 40 pairs a cell."""
        suite = suites.load("self-aa")
        subject = Subject(repository=Path(__file__).parents[2])
        build = injected(builds.working_tree(subject, self.folder), Injection(), self.folder, 0.0)
        cells = tuple(suites.cells(suite))
        gate = Gate(Arms(build, build), cells, ("local",), 1, 0.0, suite.pairs)
        verdicts = list(judged(gate, replace(self.campaign, run=measuring.name("self-aa"))))
        told = [f"{one.metric} {one.verdict.outcome} {percent(one.verdict.effect)}, "
                f"deviation {one.deviation:.1%} {one.note}" for one in verdicts]  # fmt: skip
        return [outcome(verdicts), "; ".join(told)]

    def bisect(self, good: int, bad: int) -> list[str]:
        commits = [self.commit(name) for name in self.names[good + 1 : bad + 1]]
        first = self.commit(self.names[good])
        search = Search(first, commits, DECODE, "generation_tps", ["local"], self.campaign, print)
        whole = search.whole()
        if whole.verdict.outcome != "regress":
            return ["no change", whole.note]
        found = search.find(whole, 20)
        sure = "sure" if found.confidence >= CERTAIN else "unsure"
        place = self.names.index(found.culprit)
        return [f"commit {place}, {sure}", f"{found.confidence:.3f} after {found.probes} probes"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--step", type=float, default=0.06, help="seconds of a decode step")
    parser.add_argument("--shared", action="store_true", help="this machine does other work too")
    parser.add_argument("--only", default="", help="the steps whose title has this word")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        repository, wrong = make(root / "repository", args.step)
        subject = Subject(repository=repository.root, path="turbo")
        engine = open_database(str(root / "farm.db"))
        dispatch = Local(root / "state" / "builds", args.shared)
        campaign = Campaign(engine, dispatch, "end", "end to end", 120.0, root / "spool")
        bench = Bench(subject, dispatch.builds, campaign, [*repository.commits, *wrong])
        steps: dict[str, Callable[[], list[str]]] = {
            "nightly over 24 commits, slow at 8 (5 %) and 17 (15 %)": bench.night,
            "bisect 0..16": partial(bench.bisect, 0, 16),
            "bisect 9..23": partial(bench.bisect, 9, COMMITS - 1),
            "gate a neutral commit": partial(bench.gate, 3, 4),
            "gate the 5 % commit": partial(bench.gate, 7, 8),
            "gate the 15 % commit": partial(bench.gate, 16, 17),
            "A/A of this checkout's turbo cache": bench.itself,
            "gate faster with wrong centroids": partial(
                bench.gate, COMMITS - 1, COMMITS, (DECODE, QUALITY)
            ),
            "gate the same with golden vectors of its own": partial(
                bench.gate, COMMITS - 1, COMMITS + 1, (DECODE, QUALITY)
            ),
        }
        rows = []
        for title in filter(lambda title: args.only in title, steps):
            begun, before = time.perf_counter(), dispatch.measured
            row = [title, *steps[title]()]
            spent = f"{time.perf_counter() - begun:.0f} s"
            rows.append([*row, str(dispatch.measured - before), spent])
            print(*rows[-1], sep=" | ", flush=True)
        print(aligned(["step", "answer", "details", "processes", "time"], rows))
        print(f"{dispatch.invalid} of {dispatch.measured} processes were marked invalid")


if __name__ == "__main__":
    main()

"""From a git history to the culprit through the command line; only the processes are fake.

``python -m farm.bench.end_to_end`` does the same with real ones.
"""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from functools import partial

import pytest

from fake_measure import FakeFarm
from farm.__main__ import main
from farm.campaign import campaign
from farm.commands import run

COMMITS = 24
SLOW = {8: 0.95, 17: 0.85}
SUITE = """
description: decode and quality of the turbo cache
models: [reference]
caches: {turbo: {kind: turbo}}
cells:
  - {benchmark: decode, contexts: [512]}
"""
QUALITY = "  - {benchmark: divergence, contexts: [512]}\n"


class Farm(FakeFarm):
    """Draws the figures that the files of a build tell."""

    @contextmanager
    def open(self, known, database, tell):
        yield partial(self.dispatch, state=known.state)

    def dispatch(self, jobs, state):
        for job in jobs:
            (path,) = (state / "builds" / job.build.hash / "turbo").rglob("truth.json")
            truth = json.loads(path.read_text())
            self.speed[job.build.hash] = truth["speed"]
            self.kl[job.build.hash] = truth["kl"]
            self.broken = self.broken | ({job.build.hash} if truth.get("broken") else set())
            record = self(job.build, job.cell, job.repetition, job.host)
            yield record.model_copy(update={"job": job, "started": time.time()})


class Repository:
    """A git repository with the subject, and an inventory beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.package = folder / "repository" / "turbo"

    @classmethod
    def make(cls, folder):
        self = cls(folder)
        self.package.mkdir(parents=True)
        self.git("init", "-qb", "main")
        self.git("config", "user.email", "a@b.c")
        self.git("config", "user.name", "a")
        (folder / "inventory.yaml").write_text(
            "database: farm.db\nstate: state\nsubject: {repository: repository, path: turbo}\n"
        )
        (folder / "suite.yaml").write_text(SUITE)
        (folder / "quality.yaml").write_text(SUITE + QUALITY)
        return self

    def git(self, *arguments):
        command = ["git", "-C", str(self.folder / "repository"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, tag, **truth):
        (self.package / "truth.json").write_text(json.dumps(truth | {"tag": tag}))
        self.git("add", ".")
        self.git("commit", "-qm", tag)
        self.git("tag", tag)

    def farm(self, *arguments, suite="suite"):
        options = ["--suite", str(self.folder / f"{suite}.yaml")]
        return main([*arguments, *options, "--inventory", str(self.folder / "inventory.yaml")])

    def tag(self, commit):
        return self.git("describe", "--tags", "--exact-match", commit)


@pytest.fixture
def farm(monkeypatch):
    made = Farm()
    for module in (campaign, run):
        monkeypatch.setattr(module, "open_dispatch", made.open)
    # Nothing runs here that load could spoil.
    for name in ("backfill", "bisect", "gate", "nightly", "run"):
        monkeypatch.setattr(f"farm.commands.{name}.look_first", lambda *_, **__: ())
    return made


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Make 24 commits, of which numbers 8 and 17 are slower; they must not be changed."""
    made = Repository.make(tmp_path_factory.mktemp("history"))
    speed = 1.0
    for number in range(COMMITS):
        speed *= SLOW.get(number, 1.0)
        made.commit(f"c{number:02}", speed=speed, kl=0.01)
    return made.folder


@pytest.fixture
def repository(history, tmp_path):
    """Return a copy of the history for oneself."""
    return Repository(shutil.copytree(history, tmp_path / "farm"))


@pytest.mark.slow
def test_nightly_finds_both_slow_commits_and_bisect_names_them(farm, repository, capsys):
    report = repository.folder / "report.json"
    nightly = ["nightly", "--branch", "main", "--commits", "24", "--json", str(report)]
    assert repository.farm(*nightly) == 1
    found = json.loads(report.read_text())["new"]
    assert len(found) == 2
    culprits = set()
    for regression in found:
        capsys.readouterr()
        search = ["bisect", regression["good"], regression["bad"], "--cell", "decode", "--json"]
        assert repository.farm(*search) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["confidence"] >= 0.95
        assert answer["probes"] <= 7
        culprits.add(repository.tag(answer["culprit"]))
    assert culprits == {"c08", "c17"}
    assert repository.farm(*nightly) == 0


@pytest.mark.slow
def test_gate_passes_a_neutral_commit_and_fails_slow_ones(farm, repository, capsys):
    assert repository.farm("gate", "c03", "c04") == 0
    assert repository.farm("gate", "c07", "c08") == 1
    assert repository.farm("gate", "c16", "c17") == 1
    assert "regress: worse than the tolerance" in capsys.readouterr().out


def test_gate_calls_faster_with_broken_quality_a_regression(farm, repository):
    repository.commit("wrong", speed=2.0, kl=0.5)
    report = repository.folder / "gate.md"
    options = ["--markdown", str(report), "--json", str(repository.folder / "gate.json")]
    assert repository.farm("gate", "c23", "wrong", *options, suite="quality") == 1
    document = json.loads((repository.folder / "gate.json").read_text())
    assert {one["metric"]: one["verdict"] for one in document["series"]} == {
        "generation_tps": "improve",
        "kl_divergence": "regress",
    }
    assert report.read_text().startswith("## Gate: regress")


def test_gate_of_the_same_bytes_is_neutral_and_measures_nothing(farm, repository, capsys):
    assert repository.farm("gate", "c05", "c05") == 0
    assert "nothing to measure" in capsys.readouterr().out
    assert farm.jobs == []
    assert repository.farm("gate", "c05", "c05", "--identical", "--seed", "1") == 0
    assert "flagged" in capsys.readouterr().out
    assert len(farm.jobs) == 20


def test_gate_of_the_same_bytes_writes_its_reports_too(farm, repository, capsys):
    files = [repository.folder / "gate.md", repository.folder / "gate.json"]
    options = ["--markdown", str(files[0]), "--json", str(files[1])]
    assert repository.farm("gate", "c05", "c05", "--dry-run", *options) == 0
    assert "nothing to measure" in capsys.readouterr().out
    assert not files[0].exists()
    assert repository.farm("gate", "c05", "c05", *options) == 0
    assert files[0].read_text().startswith("## Gate: pass\n\nBoth are build ")
    document = json.loads(files[1].read_text())
    assert (document["verdict"], document["series"]) == ("pass", [])
    assert document["baseline"] == document["candidate"]


def test_gate_says_how_to_repeat_it_with_the_commits_themselves(farm, repository, capsys):
    report = repository.folder / "gate.md"
    repository.farm("gate", "c07", "c08", "--host", "local", "--markdown", str(report))
    first, second = (repository.git("rev-parse", f"{tag}^0")[:10] for tag in ("c07", "c08"))
    assert f"`farm gate {first} {second} --suite " in report.read_text()
    assert "--host local --seed " in report.read_text()


def test_gate_says_that_uncommitted_changes_cannot_be_repeated(farm, repository, capsys):
    (repository.package / "truth.json").write_text(json.dumps({"speed": 1.0, "kl": 0.01}))
    report = repository.folder / "gate.md"
    assert repository.farm("gate", "c23", "--dry-run") == 0
    assert "with uncommitted changes" in capsys.readouterr().out
    repository.farm("gate", "c23", "--markdown", str(report))
    assert "with uncommitted changes" in report.read_text()


def test_gate_names_a_build_that_does_not_work_and_exits_with_3(farm, repository, capsys):
    repository.commit("broken", speed=1.0, kl=0.01, broken=True)
    assert repository.farm("gate", "c23", "broken") == 3
    assert "no such kernel" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "c99"),
        ("gate", "c01", "c99"),
        ("bisect", "c99", "c01"),
        ("bisect", "c05", "c01"),
        ("bisect", "c01", "c05", "--cell", "prefill"),
        ("nightly", "--branch", "none"),
        ("backfill", "c99..c01"),
        ("nightly", "--acknowledge", "7", "--reason", "none"),
    ],
)
def test_commits_and_cells_that_do_not_exist_are_refused(farm, repository, arguments, capsys):
    assert repository.farm(*arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert farm.jobs == []


def test_a_gate_that_tests_itself_shows_its_error_rates(farm, repository, capsys):
    text = SUITE + "injection: {share: 0.0}\npairs: 12\n"
    (repository.folder / "itself.yaml").write_text(text)
    assert repository.farm("gate", "c03", "--seed", "1", suite="itself") == 0
    assert len(farm.jobs) == 24
    rates = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert rates[1].split()[:3] == ["a", "fake", "generation_tps"]
    assert " 0.0 %      1        0  0.0 %" in rates[1]


def test_a_dry_run_measures_nothing(farm, repository, capsys):
    assert repository.farm("gate", "c01", "c02", "--dry-run") == 0
    assert repository.farm("nightly", "--commits", "5", "--dry-run") == 0
    assert repository.farm("backfill", "c01..c20", "--dry-run", "--most", "3") == 0
    assert farm.jobs == []
    assert "24 builds of HEAD, 5 jobs to measure" in capsys.readouterr().out


def test_bisect_says_when_there_is_nothing_to_find(farm, repository, capsys):
    assert repository.farm("bisect", "c01", "c06") == 4
    assert "pass: no change between c01 and c06" in capsys.readouterr().out


def test_bisect_says_what_it_could_not_measure(farm, repository, capsys):
    repository.commit("broken", speed=1.0, kl=0.01, broken=True)
    assert repository.farm("bisect", "c20", "broken", "--json") == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["culprit"] is None
    assert "no such kernel" in answer["reason"]


def test_bisect_names_the_metrics_that_a_cell_has(farm, repository, capsys):
    assert repository.farm("bisect", "c20", "c22", "--metric", "kl_divergence") == 2
    assert "decode does not give it; choose from: generation_tps" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("backfill", "c00..c20", "--every", "0"),
        ("backfill", "c00..c20", "--most", "-1"),
        ("nightly", "--commits", "0"),
        ("nightly", "--repetitions", "many"),
        ("nightly", "--silence", "nan"),
        ("bisect", "c00", "c20", "--most", "0"),
    ],
)
def test_numbers_that_are_none_are_refused(farm, repository, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        repository.farm(*arguments)
    assert ended.value.code == 2
    assert " is no number " in capsys.readouterr().err


def test_backfill_of_every_commit_measures_all_of_a_long_history(farm, repository, capsys):
    assert repository.farm("backfill", "c00..c20", "--every", "1") == 0
    assert len(farm.jobs) == 20


def test_backfill_measures_every_so_many_commits(farm, repository, capsys):
    assert repository.farm("backfill", "c00..c20", "--every", "5") == 0
    tags = [repository.tag(line) for line in capsys.readouterr().out.split()]
    assert tags == ["c01", "c06", "c11", "c16", "c20"]
    assert len(farm.jobs) == 5


def test_backfill_says_what_it_measured_as_one_json_object(farm, repository, capsys):
    span = ("backfill", "c00..c04", "--every", "2", "--json")
    assert repository.farm(*span, "--dry-run") == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["jobs"], planned["failed"]) == (0, 0)
    assert repository.farm(*span) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == {"commits": planned["commits"], "jobs": len(done["commits"]), "failed": 0}
    assert [repository.tag(name) for name in done["commits"]] == ["c01", "c03", "c04"]


@pytest.mark.slow
def test_an_acknowledged_regression_is_no_longer_news(farm, repository, capsys):
    assert repository.farm("nightly", "--commits", "24") == 1
    acknowledge = ["nightly", "--acknowledge", "1"]
    assert repository.farm(*acknowledge) == 2
    assert repository.farm(*acknowledge, "--reason", "needed for the new codec") == 0
    repository.commit("next", speed=0.95 * 0.85, kl=0.01)
    assert repository.farm("nightly", "--commits", "24") == 0
    assert "1 (acknowledged)" in capsys.readouterr().out


def test_a_run_measures_the_commit_before_too_where_that_has_no_record(farm, repository):
    def measured():
        tags = [repository.tag(job.build.commit) for job in farm.jobs]
        farm.jobs.clear()
        return tags

    repository.farm("run", "--commit", "c05", "--parent")
    # Two builds are compared, so they stand side by side in three rounds, each in a drawn order.
    first = measured()
    assert [sorted(first[at : at + 2]) for at in (0, 2, 4)] == [["c04", "c05"]] * 3
    assert len(first) == 6
    repository.farm("run", "--commit", "c06", "--parent")
    assert measured() == ["c06"]


def test_the_first_commit_has_none_before_it(farm, repository, capsys):
    assert repository.farm("run", "--commit", "c00", "--parent") == 2
    assert "is the first commit of the subject; leave it out" in capsys.readouterr().err

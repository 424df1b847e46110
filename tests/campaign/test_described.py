import subprocess

from db import queries, store
from db.engine import open_database
from example_records import M5_MAX, cells, record
from farm.campaign import described
from farm.plan.inventory import Subject
from worker.job import Build


def test_commits_that_were_measured_get_their_subject_and_unknown_ones_none(tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()

    def git(*arguments):
        command = ["git", "-C", repository, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-b", "main")
    identity = ("-c", "user.email=a@b.c", "-c", "user.name=Ada")
    git(*identity, "commit", "--allow-empty", "-m", "Pack tails earlier")
    known = git("rev-parse", "HEAD")
    engine = open_database(str(tmp_path / "farm.db"))
    for name in (known, "f" * 40):
        one = record(M5_MAX, next(cells()), 0)
        build = Build(hash=name[:16], commit=name)
        job = one.job.model_copy(update={"build": build})
        store.record_run(engine, job.run, "smoke", 1.0, [job])
    described.complete(engine, Subject(repository=repository))
    found = queries.descriptions(engine)
    assert [(one.subject, one.author) for one in found.values()] == [("Pack tails earlier", "Ada")]
    assert queries.undescribed(engine) == ["f" * 40]

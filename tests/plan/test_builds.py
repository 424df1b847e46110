"""Builds: the same bytes have the same name, wherever they come from."""

from __future__ import annotations

import subprocess

import pytest

from farm.errors import FarmError
from farm.plan import builds
from farm.plan.inventory import Subject
from worker.build import tree_hash


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "cache").mkdir(parents=True)
    _git(folder, "init", "-q")
    write(folder, "one")
    commit(folder)
    return folder


def write(folder, content):
    (folder / "cache" / "__init__.py").write_text(content)


def commit(folder):
    _git(folder, "add", "-A")
    _git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "a commit")


def _git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


@pytest.fixture
def subject(repository):
    return Subject(repository=repository, path="cache")


def test_a_clean_tree_and_its_commit_are_one_build(subject, tmp_path):
    tree = builds.working_tree(subject, tmp_path / "b")
    head = builds.at_commit(subject, "HEAD", tmp_path / "b")
    assert tree == head
    assert tree_hash(tmp_path / "b" / tree.hash / "turbo") == tree.hash


def test_a_change_on_disk_is_another_build_and_dirty(subject, repository, tmp_path):
    before = builds.working_tree(subject, tmp_path / "b")
    write(repository, "two")
    after = builds.working_tree(subject, tmp_path / "b")
    assert after.hash != before.hash
    assert (before.dirty, after.dirty) == (False, True)
    assert builds.at_commit(subject, "HEAD", tmp_path / "b").hash == before.hash


def test_documents_scripts_and_leftovers_do_not_change_a_build(subject, repository, tmp_path):
    before = builds.working_tree(subject, tmp_path / "b")
    for name in ("README.md", "bench/script.py", "__pycache__/x.pyc", ".hidden"):
        path = repository / "cache" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert builds.working_tree(subject, tmp_path / "b").hash == before.hash


def test_an_unknown_commit_is_refused(subject, tmp_path):
    with pytest.raises(FarmError, match="commit 'v9': not in .*; fetch it first"):
        builds.at_commit(subject, "v9", tmp_path / "b")


def test_a_commit_without_the_subject_is_refused(subject, tmp_path):
    other = subject.model_copy(update={"path": "elsewhere"})
    with pytest.raises(FarmError, match="has no elsewhere; choose another commit"):
        builds.at_commit(other, "HEAD", tmp_path / "b")


def test_an_absent_folder_is_refused(subject, tmp_path):
    other = subject.model_copy(update={"path": "elsewhere"})
    with pytest.raises(FarmError, match="no such folder; correct 'subject'"):
        builds.working_tree(other, tmp_path / "b")


def test_a_subject_outside_git_has_a_build_without_a_commit(tmp_path):
    (tmp_path / "plain" / "cache").mkdir(parents=True)
    write(tmp_path / "plain", "one")
    plain = Subject(repository=tmp_path / "plain", path="cache")
    assert builds.working_tree(plain, tmp_path / "b").commit is None

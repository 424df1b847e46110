import subprocess
import time

import pytest

from farm.errors import FarmError
from farm.plan import commits
from farm.plan.inventory import Subject


@pytest.fixture
def subject(tmp_path):
    """Make a repository: two versions of the subject, a commit beside it, a revert."""
    repository = tmp_path / "repository"

    def git(*arguments):
        subprocess.run(["git", "-C", repository, *arguments], check=True, capture_output=True)

    (repository / "turbo").mkdir(parents=True)
    git("init", "-b", "main")
    git("config", "user.email", "a@b.c")
    git("config", "user.name", "a")
    texts = {"one": "1", "two": "2", "beside": "2", "again": "2\n", "three": "3"}
    for name, text in texts.items():
        (repository / "turbo" / "__init__.py").write_text(text)
        (repository / "notes").write_text(name)
        git("add", ".")
        git("commit", "-m", name)
        git("tag", name)
    return Subject(repository=repository, path="turbo")


def test_only_commits_that_change_the_subject_count_oldest_first(subject):
    found = commits.revisions(subject, "main")
    wanted = [commits.resolve(subject, tag) for tag in ("one", "two", "again", "three")]
    assert found == wanted
    assert commits.revisions(subject, "main", 2) == wanted[-2:]


def test_a_range_begins_after_the_good_commit(subject):
    wanted = [commits.resolve(subject, tag) for tag in ("two", "again")]
    assert commits.between(subject, "one", "again") == wanted


def test_builds_that_repeat_the_one_before_are_left_out(subject, tmp_path):
    names = [commits.resolve(subject, tag) for tag in ("one", "two", "beside", "three")]
    found = commits.builds(subject, names, tmp_path / "builds")
    assert [commit.name for commit in found] == [names[0], names[1], names[3]]


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("none", "main", "commit 'none': not in"),
        ("three", "one", "no ancestor of"),
        ("two", "beside", "nothing to find"),
    ],
)
def test_ranges_that_hold_nothing_are_refused(subject, good, bad, message):
    with pytest.raises(FarmError, match=message):
        commits.between(subject, good, bad)


def test_an_unknown_branch_is_named(subject):
    with pytest.raises(FarmError, match="commits 'nightly': not in"):
        commits.revisions(subject, "nightly")


def test_a_commit_without_the_subject_is_left_out(subject):
    git = ["git", "-C", str(subject.repository)]
    subprocess.run([*git, "rm", "-rq", "turbo"], check=True)
    subprocess.run([*git, "commit", "-qm", "gone"], check=True)
    assert commits.revisions(subject, "main")[-1] == commits.resolve(subject, "three")


def test_a_commit_says_its_subject_author_and_date_on_one_line(subject):
    name = commits.resolve(subject, "two")
    (message,) = commits.messages(subject, [name])
    assert (message.name, message.subject, message.author) == (name, "two", "a")
    assert abs(message.authored - time.time()) < 86_400
    assert message.url is None


def test_commits_that_git_does_not_know_have_no_message(subject):
    known = commits.resolve(subject, "one")
    found = commits.messages(subject, ["0" * 40, "--output=x", "HEAD", known])
    assert [message.name for message in found] == [known]


def test_a_subject_with_control_characters_is_one_printable_line(subject):
    folder = ["git", "-C", subject.repository]
    text = "red \x1b[31m\u2028 and gone"
    subprocess.run([*folder, "commit", "--allow-empty", "-m", text], check=True)
    (message,) = commits.messages(subject, [commits.resolve(subject, "HEAD")])
    assert message.subject == "red  [31m  and gone"


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("git@github.com:ada/farm.git", "https://github.com/ada/farm"),
        ("ssh://git@example.org:22/ada/farm.git", "https://example.org/ada/farm"),
        ("https://ada:secret@github.com/ada/farm.git", "https://github.com/ada/farm"),
        ("https://github.com/ada/farm/", "https://github.com/ada/farm"),
        ("/srv/farm.git", None),
        ("../farm", None),
        ("http://[broken", None),
        ("", None),
    ],
)
def test_the_page_of_a_remote_names_no_user_and_no_password(remote, page):
    assert commits.page_of_remote(remote) == page


def test_a_link_follows_the_inventory_before_the_remote(subject):
    folder = ["git", "-C", subject.repository]
    subprocess.run([*folder, "remote", "add", "origin", "git@github.com:ada/farm.git"], check=True)
    name = commits.resolve(subject, "one")
    (message,) = commits.messages(subject, [name])
    assert message.url == f"https://github.com/ada/farm/commit/{name}"
    other = subject.model_copy(update={"url": "https://git.example.org/farm/"})
    (message,) = commits.messages(other, [name])
    assert message.url == f"https://git.example.org/farm/commit/{name}"

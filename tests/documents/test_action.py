"""The composite action, the workflow and the hook: their own scripts, run as a runner runs them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import fake_farm
from runner import Runner

REPOSITORY = Path(__file__).parents[2]
ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text())
EXAMPLES = REPOSITORY / "docs" / "examples"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Make commits that are good, slower, so noisy that nobody can tell, and broken."""
    made = fake_farm.Project(tmp_path_factory.mktemp("project"))
    made.commit("good", speed=1.0)
    made.commit("same", speed=1.0)
    made.commit("slow", speed=0.8)
    made.commit("noisy", speed=1.0, swing=0.3)
    return made


@pytest.fixture
def run(project, tmp_path):
    """Run the action for a pull request onto a base; return code, outputs and runner."""
    farm = fake_farm.command(tmp_path / "bin")
    attempts = iter(range(100))

    def start(onto, head, api=None, event_name="pull_request", **inputs):
        event = {"pull_request": {"number": 7, "base": {"sha": project.git("rev-parse", onto)}}}
        variables = {"PYTHONPATH": fake_farm.environment()["PYTHONPATH"]}
        variables["GITHUB_API_URL"] = api.address if api else "http://127.0.0.1:9"
        runner = Runner(
            tmp_path / f"job{next(attempts)}", project.folder, event, event_name, variables
        )
        given = {"farm": str(farm), "suite": "decode.yaml", "head": head} | inputs
        code, outputs = runner.action(ACTION, given)
        return code, outputs, runner

    return start


@pytest.mark.parametrize(
    ("head", "inconclusive", "code", "verdict", "annotation"),
    [
        ("same", "warn", 0, "pass", ""),
        ("slow", "warn", 1, "regress", "::error title=Turbofarm::The commit is worse"),
        ("noisy", "warn", 0, "inconclusive", "::warning title=Turbofarm::Inconclusive"),
        ("noisy", "fail", 4, "inconclusive", "::error title=Turbofarm::Inconclusive"),
        ("nowhere", "warn", 2, "failed", "::error title=Turbofarm::The gate could not"),
    ],
)
def test_the_verdict_is_the_job_s_and_stands_in_its_summary(
    run, head, inconclusive, code, verdict, annotation
):
    found, outputs, runner = run("good", head, inconclusive=inconclusive)
    assert (found, outputs["verdict"]) == (code, verdict), runner.log
    assert runner.summary.read_text().startswith(f"## Gate: {verdict}")
    assert annotation in runner.log
    if verdict != "failed":
        assert json.loads(Path(outputs["document"]).read_text())["verdict"] == verdict


def test_without_inputs_the_checkout_is_judged_against_the_pull_request_s_base(run):
    code, _, runner = run("noisy", "")
    assert code == 0
    assert "nothing to measure" in runner.summary.read_text()


def test_an_unheard_of_answer_to_inconclusive_is_refused(run):
    code, _, runner = run("good", "noisy", inconclusive="perhaps")
    assert code == 2
    assert "neither 'warn' nor 'fail'" in runner.log


def test_a_missing_farm_is_said(run):
    code, _, runner = run("good", "same", farm="no-such-farm")
    assert code == 2
    assert "the input 'farm' is not on this runner" in runner.log


def test_a_command_that_ends_with_1_and_judged_nothing_is_no_regression(run, tmp_path):
    crashing = fake_farm.script(tmp_path / "crashing" / "farm", "echo Traceback >&2; exit 1")
    code, outputs, runner = run("good", "same", farm=str(crashing))
    assert (code, outputs["verdict"]) == (70, "failed")
    assert "worse than its base" not in runner.log
    assert "The farm itself failed" in runner.log


def test_the_comment_is_written_once_and_then_updated(run, serve):
    api = serve()
    run("good", "same", api, comment="true")
    run("good", "slow", api, comment="true")
    (comment,) = api.comments
    assert comment["body"].startswith("<!-- turbofarm: gate -->\n## Gate: regress")
    assert [method for method, _ in api.asked if method != "GET"] == ["POST", "PATCH"]
    assert api.tokens == {"Bearer the-token"}


def test_a_pass_after_a_pass_says_nothing_where_only_changes_are_asked_for(run, serve):
    api = serve()
    for head in ("same", "slow", "same", "same"):
        run("good", head, api, comment="changes")
    assert [method for method, _ in api.asked if method != "GET"] == ["POST", "PATCH"]
    (comment,) = api.comments
    assert comment["body"].startswith("<!-- turbofarm: gate -->\n## Gate: pass")


@pytest.mark.parametrize(
    ("association", "text", "code"),
    [
        ("MEMBER", "/turbofarm accept needed for the new codec", 0),
        ("NONE", "/turbofarm accept trust me", 1),
        ("OWNER", "/turbofarm accept", 1),
        ("OWNER", "please /turbofarm accept this", 1),
    ],
)
def test_a_regression_is_accepted_by_somebody_who_may_write_and_says_why(
    run, serve, association, text, code
):
    user = {"login": "ada"}
    api = serve(comments=[{"id": 1, "user": user, "author_association": association, "body": text}])
    found, outputs, runner = run("good", "slow", api)
    assert (found, outputs["verdict"]) == (code, "regress")
    assert ("accepted by ada: needed for the new codec" in runner.log) == (code == 0)


@pytest.mark.parametrize(
    ("name", "description", "code"),
    [
        ("turbofarm accept: the new codec", "", 0),
        ("turbofarm accept", "the new codec", 0),
        ("turbofarm accept", "", 1),
        ("turbofarm accepted: the new codec", "", 1),
        ("bug", "the new codec", 1),
    ],
)
def test_a_regression_is_accepted_by_a_label_that_says_why(run, serve, name, description, code):
    label = {"name": name, "description": description}
    put = {"event": "labeled", "actor": {"login": "ada"}, "label": {"name": name}}
    other = put | {"actor": {"login": "eve"}, "label": {"name": "bug fix"}}
    api = serve(labels=[{"name": "docs", "description": None}, label], events=[put, other])
    found, outputs, runner = run("good", "slow", api)
    assert (found, outputs["verdict"]) == (code, "regress")
    assert ("accepted by ada: the new codec" in runner.log) == (code == 0)


def test_the_machine_s_load_stands_in_every_report(run):
    _, outputs, runner = run("good", "same")
    told = "Load: other processes on mini used 0.25 cores in the median job, 0.25 at most ("
    assert told in runner.log
    assert told in runner.summary.read_text()
    document = json.loads(Path(outputs["document"]).read_text())
    pairs = sum(one["pairs_used"] for one in document["series"])
    seen = {"cores": 2, "jobs": 2 * pairs, "others_median": 0.25, "others_most": 0.25}
    assert document["load"] == {"mini": seen}


def test_each_of_several_gates_has_its_comment_and_none_touches_another_s(run, serve):
    strangers = [
        {"id": number, "user": {"login": "somebody"}, "body": "<!-- turbofarm: mini -->\nmine"}
        for number in range(150)
    ]
    api = serve(comments=strangers)
    for name in ("mini", "laptop", "mini"):
        run("good", "same", api, comment="true", name=name)
    assert [one["body"].partition("\n")[0] for one in api.comments[150:]] == [
        "<!-- turbofarm: mini -->",
        "<!-- turbofarm: laptop -->",
    ]
    assert {one["body"] for one in api.comments[:150]} == {"<!-- turbofarm: mini -->\nmine"}


def test_no_comment_is_written_unless_it_is_asked_for_and_there_is_a_pull_request(run, serve):
    api = serve()
    assert run("good", "same", api)[0] == 0
    assert run("good", "same", api, event_name="push", comment="true")[0] == 0
    assert api.asked == []


def test_a_comment_that_is_not_allowed_changes_no_verdict_and_shows_no_token(run, serve):
    for head, code in (("same", 0), ("slow", 1)):
        found, _, runner = run("good", head, serve(forbidden=True), comment="true")
        assert found == code
        assert "give the job 'permissions: pull-requests: write'" in runner.log
        assert "::warning title=Turbofarm::The verdict could not be written" in runner.log
        assert "the-token" not in runner.log


def test_a_github_that_cannot_be_reached_changes_no_verdict(run):
    code, _, runner = run("good", "same", comment="true")
    assert code == 0
    assert "look at the network" in runner.log


def test_no_input_is_taken_for_code(run, project):
    text = "*; $(touch got-in) `touch got-in`"
    for name in ("head", "suite", "hosts", "inventory", "database", "name", "inconclusive"):
        run("good", **{"head": "same", name: text})
    run("good", "same", base=text)
    assert not (project.folder / "got-in").exists()


def test_what_a_build_prints_is_no_command_to_the_runner(run):
    _, _, runner = run("good", "slow")
    lines = runner.log.splitlines()
    (stopped,) = [i for i, line in enumerate(lines) if line.startswith("::stop-commands::")]
    token = lines[stopped].rpartition("::")[2]
    resumed = lines.index(f"::{token}::")
    assert len(token) == 32
    assert any("regress" in line for line in lines[stopped:resumed])


def test_farm_comment_names_everything_that_is_missing(tmp_path):
    farm = fake_farm.command(tmp_path)
    blank = {"GITHUB_API_URL": "", "GITHUB_REPOSITORY": "", "GITHUB_EVENT_PATH": ""}
    environment = fake_farm.environment(GITHUB_TOKEN="", **blank)
    command = [str(farm), "comment", "report.md"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [line.split(": ")[2] for line in done.stderr.splitlines()] == [
        "GITHUB_API_URL",
        "GITHUB_REPOSITORY",
        "GITHUB_TOKEN",
        "GITHUB_EVENT_PATH",
    ]


def test_the_gate_s_example_workflow_gives_the_action_only_inputs_that_it_has():
    workflow = yaml.safe_load((EXAMPLES / "gate.yml").read_text())
    (used,) = [step for step in workflow["jobs"]["gate"]["steps"] if "turbofarm" in step["uses"]]
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_the_nightly_workflow_tells_and_fails_on_a_new_regression_only_once(tmp_path, serve):
    api = serve()
    project = fake_farm.Project(tmp_path / "project")
    workflow = yaml.safe_load((EXAMPLES / "nightly.yml").read_text())
    steps = [step for step in workflow["jobs"]["nightly"]["steps"] if "run" in step]
    steps[0]["env"]["FARM"] = str(fake_farm.command(tmp_path / "bin"))
    variables = {"PYTHONPATH": fake_farm.environment()["PYTHONPATH"]}
    variables["GITHUB_API_URL"] = api.address
    codes = []
    for night, speeds in enumerate([[1.0] * 10, [1.0] + [0.8] * 8, []]):
        for number, speed in enumerate(speeds):
            project.commit(f"n{night}-{number}", speed=speed)
        runner = Runner(tmp_path / f"night{night}", project.folder, {}, "schedule", variables)
        code, title = runner.steps(steps, {}), runner.summary.read_text().partition("\n")[0]
        codes.append((code, title.rpartition(":")[2]))
    assert codes == [
        (0, " no new regression"),
        (1, " 1 new regression"),
        (0, " no new regression"),
    ]
    (issue,) = api.issues
    assert re.search(r": generation_tps of \w+@\d+ turbo.* on a fake: -\d", issue["title"])


def test_a_night_whose_issues_are_refused_is_the_same_night(tmp_path, serve):
    project = fake_farm.Project(tmp_path / "project")
    for number, speed in enumerate([1.0] * 10 + [0.8] * 8):
        project.commit(f"n{number}", speed=speed)
    command = [str(fake_farm.command(tmp_path / "bin")), "nightly", "--issues"]
    where = {"GITHUB_REPOSITORY": "somebody/something", "GITHUB_TOKEN": "the-token"}

    def night(**more):
        environment = fake_farm.environment(**where | more)
        return subprocess.run(
            [*command, "--suite", "decode.yaml", "--commits", "18"], cwd=project.folder,
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    missing = night(GITHUB_API_URL="")
    assert (missing.returncode, "GITHUB_API_URL: not set" in missing.stderr) == (2, True)
    refused = night(GITHUB_API_URL=serve(forbidden=True).address)
    assert refused.returncode == 1
    assert "issues: write" in refused.stderr
    assert "the next night tries again" in refused.stderr
    assert "the-token" not in refused.stderr


class TestPrePush:
    """The hook, called by a real ``git push``."""

    @pytest.fixture
    def push(self, tmp_path):
        project = fake_farm.Project(tmp_path / "project")
        remote = tmp_path / "remote.git"
        subprocess.run(["git", "init", "-qb", "main", "--bare", str(remote)], check=True)
        hook = project.folder / ".git" / "hooks" / "pre-push"
        hook.write_bytes((EXAMPLES / "pre-push").read_bytes())
        hook.chmod(0o755)
        project.git("remote", "add", "origin", str(remote))
        farm = str(fake_farm.command(tmp_path / "bin"))
        environment = fake_farm.environment(FARM=farm, SUITE="decode.yaml")

        def push(*what):
            command = ["git", "-C", str(project.folder), "push", "origin", *what]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            return done.returncode, done.stderr

        project.commit("good", speed=1.0)
        push("main", "--no-verify")
        project.git("remote", "set-head", "origin", "main")
        return project, push

    def test_a_regression_stops_the_push_and_no_verify_goes_past(self, push):
        project, push = push
        project.commit("slow", speed=0.8)
        code, errors = push("main")
        assert (code, "pre-push: slower or worse" in errors) == (1, True)
        assert push("main", "--no-verify")[0] == 0

    def test_a_pass_and_what_nobody_can_tell_are_pushed(self, push):
        project, push = push
        project.commit("same", speed=1.0)
        assert push("main")[0] == 0
        project.commit("noisy", speed=1.0, swing=0.3)
        code, errors = push("main")
        assert (code, "inconclusive, pushed all the same" in errors) == (0, True)

    def test_a_new_branch_is_compared_with_where_it_left_the_remote_s(self, push):
        project, push = push
        project.commit("slow", speed=0.8)
        code, errors = push("HEAD:refs/heads/new")
        assert (code, "pre-push: slower or worse" in errors) == (1, True)
        push("HEAD:refs/heads/new", "--no-verify")
        assert push("--delete", "new")[0] == 0

    def test_a_gate_that_cannot_be_measured_stops_no_push(self, push):
        project, push = push
        project.commit("same", speed=1.0)
        (project.folder / "inventory.yaml").write_text("hosts: 7\n")
        code, errors = push("main")
        assert (code, "could not be measured (2)" in errors) == (0, True)

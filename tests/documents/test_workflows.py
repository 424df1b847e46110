"""The repository's own workflows: their steps' shell is run, and what they may do is little."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from runner import Runner

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
STEPS = {
    (file, job, place): step
    for file, workflow in WORKFLOWS.items()
    for job, its in workflow["jobs"].items()
    for place, step in enumerate(its["steps"])
}
SCRIPTS = [key for key, step in STEPS.items() if "run" in step]
FARM = """#!/bin/sh
echo "$@" >>asked
while [ $# -gt 0 ]; do [ "$1" = --bundle ] && : >"$2"; shift; done
echo "Apple M1 (Virtual) computes what it must"
exit {status}
"""


@pytest.fixture
def mac(tmp_path):
    """Return a function that does a step of the job on a Mac, where ``farm`` ends as given."""
    tools = tmp_path / "checkout" / ".venv" / "bin"
    tools.mkdir(parents=True)
    runner = Runner(tmp_path / "runner", tmp_path / "checkout", event={})

    def do(name, status=0):
        for tool in ("farm", "pytest"):
            (tools / tool).write_text(FARM.format(status=status))
            (tools / tool).chmod(0o755)
        (step,) = [one for one in STEPS.values() if one.get("name") == name]
        return runner.steps([step], {}), runner

    return do


@pytest.mark.parametrize("key", SCRIPTS, ids=str)
def test_every_script_is_one_that_the_shell_understands(key):
    command = ["bash", "-n", "-c", STEPS[key]["run"]]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_nothing_else_and_ends_in_time(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "@" in step.get("uses", "@")
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


def test_linux_runs_what_ci_runs():
    (script,) = [
        step["run"] for key, step in STEPS.items() if key[1] == "linux" and ".ci/run" in str(step)
    ]
    assert script.splitlines()[-1] == ".ci/run"
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o100


def test_a_mac_is_looked_over_and_its_bundle_kept(mac):
    code, runner = mac("Doctor")
    assert code == 0
    assert (runner.folder / "found" / "doctor.zip").exists()
    assert "computes what it must" in runner.summary.read_text()
    assert (runner.workspace / "asked").read_text().startswith("doctor --bundle ")


def test_a_mac_that_is_not_well_fails_its_job_after_it_was_told(mac):
    code, runner = mac("Doctor", status=3)
    assert code == 3
    assert "computes what it must" in runner.summary.read_text()
    assert "computes what it must" in runner.log


def test_conformance_and_the_smoke_suite_run_on_a_mac(mac):
    _, runner = mac("Conformance")
    asked = (runner.workspace / "asked").read_text().split()
    assert all((REPOSITORY / path).exists() for path in asked if path.startswith("tests/"))
    code, runner = mac("Smoke suite")
    assert code == 0
    assert (runner.folder / "found" / "smoke.zip").exists()
    assert mac("Smoke suite", status=3)[0] == 3


def test_what_was_found_is_kept_whatever_happened():
    for name in ("Conformance", "Smoke suite", "Keep what was found"):
        (step,) = [one for one in STEPS.values() if one.get("name") == name]
        assert step["if"] == "${{ !cancelled() }}"

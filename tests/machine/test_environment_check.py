"""Each problem of a host comes with the command that fixes it."""

from __future__ import annotations

import json
import plistlib
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from worker.machine.environment import settings
from worker.machine.environment.bundle import Bundle, replay
from worker.machine.environment.check import problems
from worker.machine.environment.launchd import service
from worker.process.awake import awake
from worker.record import Environment

BUNDLES = Path(__file__).parents[1] / "golden" / "bundles"
FIT = {"os": "macOS", "gpu_clock": 1.0, "power_mode": "high", "thermal_level": "nominal"} | {
    "nominal_bandwidth": 1e11,
    "mlx": "0.32.4",
    "mlx_lm": "0.32.2",
}


def found(name: str) -> dict[str, str]:
    case = json.loads((BUNDLES / f"{name}.json").read_text())
    environment = replay(Bundle.model_validate(case["bundle"]))
    return {problem.fact: problem.severity for problem in problems(environment)}


def test_a_fit_mac_has_no_problems():
    assert problems(Environment(facts=FIT)) == ()


def test_a_laptop_is_told_what_may_disturb_it():
    assert found("m5_max_laptop") == {
        "time_machine": "risk",
        "filevault": "risk",
        "firewall": "risk",
    }


def test_a_throttled_hot_mini_without_macmon_is_told_so():
    assert found("m2_pro_mini_without_macmon") == {
        "thermal_level": "invalid",
        "memory_pressure": "invalid",
        "priority": "invalid",
        "gpu_clock": "risk",
    }


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"power_mode": "low"}, "sudo pmset -a lowpowermode 0"),
        ({"power_source": "battery"}, "plug it in"),
        ({"battery_charge": 80}, "sudo pmset -a disablesleep 1"),
        ({"high_power_capable": True, "power_mode": "automatic"}, "sudo pmset -a lowpowermode 2"),
        ({"wired_limit": 14680064000}, "sudo sysctl iogpu.wired_limit_mb=0"),
        ({"disk_free": 200_000_000}, "delete what is not needed; see: df -h ~"),
        ({"busiest_process": "Xcode", "busiest_process_cpu": 2.5}, "quit Xcode"),
        (
            {"load": 9.0, "logical_cores": 10},
            "wait, or quit what works there; see: top -o cpu",
        ),
        ({"gpu_utilization": 0.4}, "quit what draws or computes on it"),
        (
            {"firewall_blocks_all": True},
            f"sudo {settings.FIREWALL} --setblockall off; or take the engine ssh",
        ),
    ],
)
def test_a_problem_names_its_remedy(changes, remedy):
    (problem,) = problems(Environment(facts=FIT | changes))
    assert problem.remedy == remedy


def test_the_service_is_interactive_so_that_launchd_does_not_throttle_it():
    command = ["/opt/venv/bin/ray", "start", "--block"]
    document = plistlib.loads(service(command, "bench", PurePosixPath("/var/log")))
    assert document["ProcessType"] == "Interactive"
    assert document["ProgramArguments"] == command
    assert document["UserName"] == "bench"


def test_caffeinate_runs_around_a_job_and_ends_with_it(tmp_path, monkeypatch):
    script = tmp_path / "caffeinate"
    said = f'echo "$@" > {tmp_path}/writing; mv {tmp_path}/writing {tmp_path}/asked'
    script.write_text(f"#!/bin/sh\n{said}\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with awake():
        while not (tmp_path / "asked").exists():
            pass
    assert (tmp_path / "asked").read_text().startswith("-dimsu -w ")


def test_a_host_is_asked_by_one_command_that_also_writes_a_bundle(tmp_path):
    file = tmp_path / "bundle.json"
    command = [sys.executable, "-m", "worker.machine.environment", "--bundle", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert "device" in document["environment"]["facts"]
    assert (
        replay(Bundle.model_validate_json(file.read_text())).facts
        == (document["environment"]["facts"])
    )

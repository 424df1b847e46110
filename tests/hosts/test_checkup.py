"""farm hosts check tells what is wrong with a host, and keeps its raw answers if asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farm.__main__ import main
from farm.errors import FarmError
from farm.hosts import checkup
from farm.hosts.python import skew
from worker.machine.environment.bundle import Bundle, replay

BUNDLES = Path(__file__).parents[1] / "golden" / "bundles"


def golden(name: str) -> Bundle:
    return Bundle.model_validate(json.loads((BUNDLES / f"{name}.json").read_text())["bundle"])


def test_each_problem_of_a_host_is_a_row_with_its_remedy():
    table = checkup.report({"mini": checkup.of_bundle(golden("m2_pro_mini_without_macmon"))})
    assert "thermal level is heavy" in table
    assert "brew install macmon" in table
    assert table.count("mini") == 4


def test_a_full_disk_and_a_wrong_clock_are_told_before_anything_of_ours_is_there():
    table = checkup.report({"mini": checkup.of_host(-7200.0, 0)})
    assert "its clock is 7200 s behind this machine's" in table
    assert "only 0.0 GB are free on the disk" in table
    assert checkup.of_host(0.5, 50_000_000_000) == []


def test_a_slow_answer_is_no_wrong_clock():
    assert skew(105.9, 100.0, 112.0) == 0.0
    assert skew(90.0, 100.0, 101.0) == -10.0
    assert skew(3700.0, 100.0, 101.0) == 3599.0


def test_a_device_is_named_with_how_much_is_known_of_it():
    assert checkup.device(golden("m5_max_laptop")).startswith("Apple M5 Max, 40 GPU cores, 128 GB")


@pytest.mark.slow
def test_this_machine_is_checked_without_an_address_and_its_answers_are_kept(tmp_path, capsys):
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("hosts:\n  local: {local: true}\n")
    arguments = ["hosts", "check", "--inventory", str(inventory), "--bundle", str(tmp_path / "b")]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "this machine:" in output
    assert "golden vectors pass: portable" in output
    kept = Bundle.model_validate_json((tmp_path / "b" / "local.json").read_text())
    assert "device" in replay(kept).facts


def report(codec=(), attention=(), fatal=(), paths=("portable", "fused")):
    document = {"codec_failures": codec, "attention_failures": attention, "fatal": fatal}
    return json.dumps(document | {"largest_error": dict.fromkeys(paths, 0.001)})


def test_a_host_that_fails_a_kernel_is_said_to_use_the_portable_path():
    told = checkup.verdict("mini", report(attention=["fused attention/64/4/4/1"]), "")
    assert told == (
        "golden vectors pass on the portable path; left alone: fused attention/64/4/4/1"
    )
    assert checkup.verdict("mini", report(), "") == "golden vectors pass: portable, fused attention"


@pytest.mark.parametrize(
    "failures",
    [
        {"codec": ["codec/80/4"], "fatal": ["codec/80/4"]},
        {"attention": ["prompt attention/64/4/4/1"], "fatal": ["prompt attention/64/4/4/1"]},
    ],
)
def test_a_host_that_fails_the_codec_or_a_path_without_kernels_is_a_failure(failures):
    with pytest.raises(FarmError, match="'mini': fails the golden vectors .*64|80/4, so it gives"):
        checkup.verdict("mini", report(**failures), "")


def test_a_host_that_cannot_run_the_golden_vectors_says_why():
    with pytest.raises(FarmError, match="it says: ImportError: no mlx"):
        checkup.verdict("mini", "", "Traceback\nImportError: no mlx")

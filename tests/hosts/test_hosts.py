"""Several hosts over SSH, in a lab of network namespaces."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess

import pytest

from lab import SUITE, lab, need

pytestmark = pytest.mark.network_namespaces


@pytest.fixture
def hosts(tmp_path):
    need()
    (tmp_path / "mine.yaml").write_text(SUITE)
    with lab(tmp_path, ["h1", "h2", "h3"]) as made:
        yield made


def finish(process):
    output, errors = process.communicate()
    return process.returncode, output, errors


def stored(folder):
    with sqlite3.connect(folder / ".farm" / "farm.db") as connection:
        rows = connection.execute("SELECT host, status, build_hash FROM record ORDER BY host")
        found = rows.fetchall()
    connection.close()
    return found


def test_a_suite_runs_on_every_host_with_one_build_and_leaves_nothing(hosts):
    assert finish(hosts.quick("hosts", "trust", "--yes"))[0] == 0
    status, output, errors = finish(hosts.farm("run", "--suite", "mine.yaml"))
    assert status == 0, errors
    records = stored(hosts.folder)
    assert [row[:2] for row in records] == [("h1", "ok"), ("h2", "ok"), ("h3", "ok")]
    assert len({row[2] for row in records}) == 1

    _, output, _ = finish(hosts.quick("hosts", "up"))
    assert output.count("0 steps done, 4 were there") == 3
    _, output, _ = finish(hosts.quick("hosts", "check"))
    assert output.count("ready") == 3

    assert finish(hosts.quick("hosts", "down", "--purge"))[0] == 0
    assert not any((hosts.folder / name / "farm").exists() for name in hosts.names)


def test_an_unknown_host_key_is_refused_and_shown_before_it_is_trusted(hosts):
    status, output, _ = finish(hosts.quick("hosts", "check", "h1"))
    assert status == 3
    assert "its host key is not known yet; look at it with: farm hosts trust h1" in output
    status, output, _ = finish(hosts.quick("hosts", "trust", "h1"))
    assert (status, "SHA256:" in output) == (3, True)
    assert finish(hosts.quick("hosts", "check", "h1"))[0] == 3


def test_a_changed_host_key_is_refused(hosts):
    finish(hosts.quick("hosts", "trust", "h1", "--yes"))
    hosts.crash("h1")
    hosts.new_host_key("h1")
    hosts.start("h1")
    status, output, _ = finish(hosts.quick("hosts", "check", "h1"))
    assert status == 3
    assert "its host key has CHANGED" in output


def test_a_host_that_is_down_is_named_and_the_others_go_on(hosts):
    finish(hosts.quick("hosts", "trust", "--yes"))
    hosts.crash("h2")
    status, _, errors = finish(hosts.farm("run", "--suite", "mine.yaml"))
    assert status == 3
    assert "failed: h2: " in errors
    assert "Remote Login (SSH) is on" in errors
    states = [row[:2] for row in stored(hosts.folder)]
    assert states == [("h1", "ok"), ("h2", "failed"), ("h3", "ok")]


def test_what_a_killed_coordinator_had_measured_is_fetched_not_measured_again(hosts):
    finish(hosts.quick("hosts", "trust", "--yes"))
    there = hosts.folder / "h1" / "farm"
    process = hosts.farm("run", "--suite", "mine.yaml", "--host", "h1")
    # Little is left to do then: the host waits for its coordinator for a while only.
    until(process, lambda: list((there / "conformance").glob("*.json")))
    hosts.link("h1", "down")
    until(process, lambda: list((there / "kept").glob("*.json")))
    process.kill()
    finish(process)
    (kept,) = [json.loads(path.read_text()) for path in (there / "kept").glob("*.json")]
    hosts.link("h1", "up")
    status, output, errors = finish(hosts.farm("run", "--resume", "--json"))
    assert status == 0, errors
    record, _ = output.splitlines()  # at last the summary
    assert json.loads(record)["started"] == kept["started"]
    assert list((there / "kept").glob("*.json")) == []


def until(process, happened):
    """Wait for something that a running process brings about."""
    while not happened():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)


def test_a_host_whose_bringing_up_failed_is_not_called_ok(hosts):
    finish(hosts.quick("hosts", "trust", "h1", "--yes"))
    place = hosts.folder / "h1" / "farm"
    place.mkdir()
    hosts.fill("h1", place)
    assert finish(hosts.quick("hosts", "up", "h1"))[0] == 3
    status, output, _ = finish(hosts.quick("hosts", "check", "h1", "--json"))
    (row,) = json.loads(output)
    assert (status, row["state"]) == (3, "to bring up")
    assert row["missing"] == ["harness"]
    assert "(farm hosts up h1)" in row["details"]


@pytest.mark.parametrize("action", ["up", "check"])
def test_an_interrupt_while_hosts_are_looked_at_ends_with_one_sentence(hosts, action):
    finish(hosts.quick("hosts", "trust", "--yes"))
    hosts.link("h1", "down")
    process = hosts.farm("hosts", action, "h1")
    assert process.stderr.readline() == "h1: connecting\n"
    process.send_signal(signal.SIGINT)
    status, output, errors = finish(process)
    assert (status, output) == (130, "")
    words = "what was done on hosts stays; the same command does the rest"
    assert errors == f"interrupted; {words}\n"


def test_one_machine_under_two_names_is_measured_once(hosts):
    text = (hosts.folder / "inventory.yaml").read_text()
    again = next(line for line in text.splitlines() if line.startswith("  h1:"))
    (hosts.folder / "inventory.yaml").write_text(text + again.replace("h1:", "twin:") + "\n")
    finish(hosts.quick("hosts", "trust", "--yes"))
    status, _, errors = finish(hosts.farm("run", "--suite", "mine.yaml"))
    assert status == 3
    assert "is the same machine as" in errors
    assert [row[1] for row in stored(hosts.folder)].count("ok") == 3


def test_a_host_with_a_full_disk_is_named_and_the_others_go_on(hosts):
    finish(hosts.quick("hosts", "trust", "--yes"))
    full = hosts.folder / "h2" / "farm"
    full.mkdir()
    hosts.fill("h2", full)
    status, _, errors = finish(hosts.farm("run", "--suite", "mine.yaml"))
    assert status == 3
    assert "No space left on device; see 'python' in the inventory and the space" in errors
    states = [row[:2] for row in stored(hosts.folder)]
    assert states == [("h1", "ok"), ("h2", "failed"), ("h3", "ok")]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("user: nobody", "it refused the key; see 'user' and 'key' in the inventory"),
        ("port: 23", "see that Remote Login (SSH) is on"),
        ("python: python9", "python9"),
    ],
)
def test_a_host_that_cannot_be_used_is_told_with_the_remedy(hosts, wrong, told):
    finish(hosts.quick("hosts", "trust", "--yes"))
    text = (hosts.folder / "inventory.yaml").read_text()
    key = wrong.partition(":")[0]
    lines = [
        re.sub(rf"(, {key}: [^,}}]*)?}}", f", {wrong}}}", re.sub(rf"{key}: [^,}}]*, ", "", line))
        if line.startswith("  h1:")
        else line
        for line in text.splitlines()
    ]
    (hosts.folder / "inventory.yaml").write_text("\n".join(lines) + "\n")
    status, output, _ = finish(hosts.quick("hosts", "check", "h1", "h2"))
    assert status == 3
    assert told in output
    assert "ready" in output or "missing" in output

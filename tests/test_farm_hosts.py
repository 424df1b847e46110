"""Several hosts over SSH, in a lab of network namespaces."""

from __future__ import annotations

import os
import signal
import sqlite3

import pytest

from lab import lab, missing

pytestmark = pytest.mark.network_namespaces

SUITE = """
description: a small cell on each host
models: [reference]
deadline: 120
caches:
  turbo: {kind: turbo, key_bits: 4, value_bits: 4}
cells:
- {benchmark: memory, contexts: [160], params: {tokens: 2}}
"""


@pytest.fixture
def hosts(tmp_path):
    if lack := missing():
        if os.environ.get("FARM_REQUIRE_NETNS"):
            pytest.fail(lack)
        pytest.skip(lack)
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
    assert finish(hosts.farm("hosts", "trust", "--yes"))[0] == 0
    status, output, errors = finish(hosts.farm("run", "--suite", "mine.yaml"))
    assert status == 0, errors
    records = stored(hosts.folder)
    assert [row[:2] for row in records] == [("h1", "ok"), ("h2", "ok"), ("h3", "ok")]
    assert len({row[2] for row in records}) == 1

    _, output, _ = finish(hosts.farm("hosts", "up"))
    assert output.count("0 steps done, 4 were there") == 3
    _, output, _ = finish(hosts.farm("hosts", "check"))
    assert output.count("ready") == 3

    assert finish(hosts.farm("hosts", "down", "--purge"))[0] == 0
    assert not any((hosts.folder / name / "farm").exists() for name in hosts.names)


def test_an_unknown_host_key_is_refused_and_shown_before_it_is_trusted(hosts):
    status, output, _ = finish(hosts.farm("hosts", "check", "h1"))
    assert status == 3
    assert "its host key is not known yet; look at it with: farm hosts trust h1" in output
    status, output, _ = finish(hosts.farm("hosts", "trust", "h1"))
    assert (status, "SHA256:" in output) == (3, True)
    assert finish(hosts.farm("hosts", "check", "h1"))[0] == 3


def test_a_changed_host_key_is_refused(hosts):
    finish(hosts.farm("hosts", "trust", "h1", "--yes"))
    hosts.crash("h1")
    hosts.new_host_key("h1")
    hosts.start("h1")
    status, output, _ = finish(hosts.farm("hosts", "check", "h1"))
    assert status == 3
    assert "its host key has CHANGED" in output


def test_a_host_that_is_down_is_named_and_the_others_go_on(hosts):
    finish(hosts.farm("hosts", "trust", "--yes"))
    hosts.crash("h2")
    status, _, errors = finish(hosts.farm("run", "--suite", "mine.yaml"))
    assert status == 3
    assert "failed: h2: " in errors
    assert "Remote Login (SSH) is on" in errors
    states = [row[:2] for row in stored(hosts.folder)]
    assert states == [("h1", "ok"), ("h2", "failed"), ("h3", "ok")]


def test_what_a_killed_coordinator_had_measured_is_fetched_not_measured_again(hosts):
    finish(hosts.farm("hosts", "trust", "--yes"))
    spool = hosts.folder / "h1" / "farm" / "kept"
    process = hosts.farm("run", "--suite", "mine.yaml", "--host", "h1")
    while not (spool.exists() and list(spool.glob("*.json"))):
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGSTOP)
    kept = [path.read_text() for path in spool.glob("*.json")]
    process.kill()
    finish(process)
    if stored(hosts.folder):
        pytest.skip("the coordinator was faster: the record is stored already")
    status, output, errors = finish(hosts.farm("run", "--resume", "--json"))
    assert status == 0, errors
    assert f'"started":{kept[0].partition(chr(34) + "started" + chr(34) + ":")[2][:10]}' in output
    assert list(spool.glob("*.json")) == []

"""Whatever is raised or said at a seam that touches one host costs that host's jobs alone."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import jobs
from db import store
from db.engine import open_database
from db.leases import Leases
from fake_hosts import FakeHost, FakeHosts, SimulatedLoop
from farm.dispatch.dispatcher import Dispatcher
from farm.plan.inventory import Host
from library_errors import ERRORS

RUNS = itertools.count()
SEAMS = ("session", "enter", "place", "say", "hear", "exit")


class Throwing(FakeHosts):
    """Fake hosts of which a raises an error at one seam."""

    def __init__(self, hosts, seam, error):
        super().__init__(hosts)
        self.seam, self.error = seam, error

    def session(self, name):
        if name == "a" and self.seam == "session":
            raise self.error
        return self._session(name)

    @asynccontextmanager
    async def _session(self, name):
        if name == "a" and self.seam == "enter":
            raise self.error
        async with super().session(name) as serving:
            if name == "a" and self.seam in {"place", "say", "hear"}:
                setattr(serving, self.seam, self._raise)
            yield serving
            if name == "a" and self.seam == "exit":
                raise self.error

    async def _raise(self, *_):
        raise self.error


class Saying(FakeHosts):
    """Fake hosts of which a says something else than records."""

    def __init__(self, hosts, lines):
        super().__init__(hosts)
        self.lines = lines

    @asynccontextmanager
    async def session(self, name):
        async with super().session(name) as serving:
            if name == "a":
                hear, lines = serving.hear, iter(self.lines)
                serving.hear = lambda: self._next(lines, hear)
            yield serving

    async def _next(self, lines, hear):
        line = next(lines, None)
        return await hear() if line is None else line


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    made = open_database(str(tmp_path_factory.mktemp("farm") / "farm.db"))
    yield made
    made.dispose()


def run(database, make):
    """Do a job on each host; return the records by host."""
    hosts = {name: FakeHost(name, lambda _: 10.0) for name in "ab"}
    known = {name: Host(address=name) for name in hosts}
    name = f"run-{next(RUNS)}"
    wanted = [jobs.job(host=host, run=name) for host in hosts]
    store.record_run(database, name, "suite", 1.0, wanted)
    loop, records = SimulatedLoop(), {}

    async def deliver(record):
        store.record_result(database, record)
        records[record.job.host] = record

    async def whole(ledger):
        dispatcher = Dispatcher(make(hosts), ledger, known, {})
        try:
            await dispatcher.run(wanted, deliver)
        finally:
            await dispatcher.close()
            await asyncio.sleep(60.0)

    try:
        with Leases(database) as ledger:
            loop.run_until_complete(whole(ledger))
    finally:
        loop.close()
    return records


@pytest.mark.slow
@pytest.mark.parametrize("seam", SEAMS)
def test_any_error_at_a_seam_of_one_host_ends_that_host_and_no_other(database, seam):
    for error in ERRORS:
        records = run(database, lambda hosts, error=error: Throwing(hosts, seam, error))
        assert records["b"].status == "ok", error
        if seam == "exit":  # all was measured by then
            assert records["a"].status == "ok", error
            continue
        failure = records["a"].failure
        assert failure.kind == "lost", error
        assert failure.message.startswith("host 'a': "), error
        assert len(failure.message.splitlines()) == 1, error


RECORD = json.loads(jobs.record(jobs.job(host="a")).model_dump_json())
ODD = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["[]", "null", "7", '{"record": null}', '{"record": {}}', '{"ready": 1', "[" * 5000]
    ),
    st.builds(
        lambda key, value: json.dumps({"record": RECORD | {key: value}}),
        st.sampled_from([*RECORD, "details", "other"]),
        st.sampled_from(
            [2**70, -1, 1e999, "\ud800", "\0", None, [], {"a": 2**70}, {"\ud800": 1}, "x" * 10_000]
        ),
    ),
)


def said(**changes):
    return [json.dumps({"record": RECORD | changes})]


@pytest.mark.slow
@example(said(attempt=2**70))
@example(said(started=1e999))
@example(said(details={"a": 2**70}))
@example(said(details={"\ud800": 1}))
@example(said(samples=[{"metric": "x", "value": 1, "trial": 2**70}]))
@example(said(build_hash="\0"))
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines=st.lists(ODD, min_size=1, max_size=3))
def test_whatever_a_host_says_costs_no_other_host_its_record(database, lines):
    records = run(database, lambda hosts: Saying(hosts, lines))
    assert records["b"].status == "ok"
    assert "a" in records

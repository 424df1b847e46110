"""Dispatch on a simulated clock: whatever becomes of hosts, each job ends with one record."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from itertools import pairwise

import paramiko
import pytest

import jobs
from db import queries, store
from db.engine import open_database
from db.leases import Leases, pause
from fake_hosts import FakeHost, FakeHosts, SimulatedLoop
from farm.dispatch.bridge import dispatching
from farm.dispatch.dispatcher import ATTEMPTS, Dispatcher
from farm.dispatch.link import SILENCE
from farm.errors import FarmError, HostError, HostRefusedError
from farm.hosts.ssh.connection import Connection
from farm.plan.inventory import Host
from fault_campaign import simulated
from worker.job import Cache, Cell, Order
from worker.record import Record


@pytest.fixture
def engine(tmp_path):
    made = open_database(str(tmp_path / "farm.db"))
    yield made
    made.dispose()


class Farm:
    """A coordinator of fake hosts a and b, both of class m2, on a clock that jumps."""

    def __init__(self, engine, seconds=10.0):
        self.engine = engine
        self.loop = SimulatedLoop()
        self.hosts = {name: FakeHost(name, lambda _: seconds) for name in ("a", "b")}
        self.known = {
            name: Host.model_validate({"address": name, "class": "m2"}) for name in self.hosts
        }
        self.records = []

    def run(self, *wanted, events=()):
        """Do the jobs; ``events`` are (second, function) pairs."""
        store.record_run(self.engine, "run-1", "suite", 1.0, wanted)
        for second, event in events:
            self.loop.call_at(second, event)
        with Leases(self.engine) as ledger:
            dispatcher = Dispatcher(FakeHosts(self.hosts), ledger, self.known, {})
            try:
                self.loop.run_until_complete(dispatcher.run(list(wanted), self._deliver))
            finally:
                self.loop.run_until_complete(self._end(dispatcher))
        return self.records

    async def _deliver(self, record):
        store.record_result(self.engine, record)
        self.records.append(record)

    async def _end(self, dispatcher):
        await dispatcher.close()
        await asyncio.sleep(60.0)

    def attempts(self, name):
        return [one.attempt for one in self.hosts[name].executions]


@pytest.fixture
def farm(engine):
    made = Farm(engine)
    yield made
    made.loop.close()


def test_hosts_work_side_by_side_and_each_alone(farm):
    wanted = [jobs.job(host=host, repetition=n) for host in "ab" for n in range(3)]
    records = farm.run(*wanted)
    assert {record.job.id for record in records} == {job.id for job in wanted}
    assert farm.loop.now - 60.0 < 2 * 3 * 10.0
    for host in farm.hosts.values():
        assert all(one.end <= two.start for one, two in pairwise(host.executions))


def test_a_job_of_a_class_whose_host_crashes_is_done_by_another(farm):
    job = jobs.job(host="m2")
    (record,) = farm.run(job, events=[(5.0, lambda: [h.crash() for h in [_busy(farm)]])])
    assert record.status == "ok"
    assert record.attempt == 2
    assert record.place != record.job.host
    assert len(farm.attempts("a")) == len(farm.attempts("b")) == 1


def _busy(farm):
    return next(host for host in farm.hosts.values() if host.running)


def test_a_job_that_loses_its_host_three_times_ends_as_lost(farm):
    kills = [(second, farm.hosts["a"].kill_sessions) for second in (5.0, 12.0, 18.0)]
    (record,) = farm.run(jobs.job(host="a"), events=kills)
    assert (record.failure.kind, record.attempt) == ("lost", ATTEMPTS)
    assert farm.attempts("a") == [1, 2, 3]


def test_a_failed_benchmark_is_a_result_and_is_not_tried_again(farm):
    (record,) = farm.run(jobs.job(host="a"), events=[(5.0, farm.hosts["a"].kill_job)])
    assert (record.failure.kind, record.attempt) == ("crash", 1)
    assert farm.attempts("a") == [1]


def test_a_silent_host_is_noticed_within_fifteen_seconds(farm):
    host = farm.hosts["a"]
    noticed = []

    class Watching(Leases):
        def lose(self, job, number, reason):
            noticed.append((farm.loop.now, reason))
            super().lose(job, number, reason)

    wanted = jobs.job(host="a")
    store.record_run(farm.engine, "run-1", "suite", 1.0, [wanted])
    with Watching(farm.engine) as ledger:
        dispatcher = Dispatcher(FakeHosts(farm.hosts), ledger, farm.known, {})
        farm.loop.call_at(3.0, lambda: setattr(host, "linked", False))
        farm.loop.call_at(60.0, lambda: setattr(host, "linked", True))
        farm.loop.run_until_complete(dispatcher.run([wanted], farm._deliver))
        farm.loop.run_until_complete(farm._end(dispatcher))
    second, reason = noticed[0]
    assert second - 3.0 <= 15.0
    assert f"silent for {SILENCE:g} s" in reason


def test_what_a_host_finished_while_out_of_reach_counts_and_is_not_measured_again(farm):
    host = farm.hosts["a"]
    cut = [(4.0, lambda: setattr(host, "linked", False))]
    (record,) = farm.run(
        jobs.job(host="a"), events=[*cut, (24.0, lambda: setattr(host, "linked", True))]
    )
    assert (record.status, record.attempt) == ("ok", 1)
    assert farm.attempts("a") == [1]
    assert host.kept == {}


def test_a_record_that_comes_twice_counts_once(farm):
    farm.hosts["a"].doubling = True
    wanted = [jobs.job(host="a", repetition=number) for number in range(2)]
    farm.run(*wanted)
    assert len(queries.records(farm.engine, "run-1")) == 2
    assert farm.attempts("a") == [1, 1]


def test_a_record_kept_for_another_farm_is_left_alone(farm):
    foreign = jobs.record(jobs.job(run="elsewhere", host="a"))
    farm.hosts["a"].kept[foreign.name] = foreign
    farm.run(jobs.job(host="a"))
    assert list(farm.hosts["a"].kept) == [foreign.name]


def test_a_record_kept_from_an_earlier_run_is_stored_then(farm):
    earlier = jobs.job(run="earlier", host="a")
    store.record_run(farm.engine, "earlier", "suite", 1.0, [earlier])
    kept = jobs.record(earlier)
    farm.hosts["a"].kept[kept.name] = kept
    farm.run(jobs.job(host="a"))
    assert [one.job.id for one in queries.records(farm.engine, "earlier")] == [earlier.id]
    assert farm.hosts["a"].kept == {}


def test_a_host_that_says_nonsense_is_lost_with_a_reason(farm):
    def babble():
        for session in farm.hosts["a"].sessions:
            session._to_farm.put_nowait('{"record": {"no": "record"}}')

    (record,) = farm.run(jobs.job(host="a"), events=[(5.0, babble)])
    assert (record.status, record.attempt) == ("ok", 2)


def test_a_host_that_is_paused_gets_no_job_and_its_jobs_stay(farm):
    pause(farm.engine, "a", "the cat sleeps on it")
    (record,) = farm.run(jobs.job(host="a"), jobs.job(host="b"))
    assert record.job.host == "b"
    assert [job.host for job in queries.pending_jobs(farm.engine, "run-1")] == ["a"]


def test_two_coordinators_take_turns_on_a_device(farm):
    wanted = {run: [jobs.job(run=run, host="a", repetition=n) for n in range(4)] for run in "xy"}
    order = []

    async def deliver(record):
        store.record_result(farm.engine, record)
        order.append(record.job.run)

    async def both(ledgers):
        dispatchers = [Dispatcher(FakeHosts(farm.hosts), one, farm.known, {}) for one in ledgers]
        pairs = zip(dispatchers, wanted.values(), strict=True)
        await asyncio.gather(*(dispatcher.run(batch, deliver) for dispatcher, batch in pairs))
        for dispatcher in dispatchers:
            await dispatcher.close()
        await asyncio.sleep(60.0)

    for run, batch in wanted.items():
        store.record_run(farm.engine, run, "suite", 1.0, batch)
    with Leases(farm.engine) as one, Leases(farm.engine) as two:
        farm.loop.run_until_complete(both([one, two]))
    assert order[:6] in (["x", "y"] * 3, ["y", "x"] * 3)
    executions = farm.hosts["a"].executions
    assert all(one.end <= two.start for one, two in pairwise(executions))


def test_a_job_for_no_host_or_class_is_refused_before_anything_is_measured(farm):
    with pytest.raises(FarmError, match="no host or class m5; put it back"):
        farm.run(jobs.job(host="a"), jobs.job(host="m5"))
    assert farm.attempts("a") == []


class Refusing:
    """An engine whose hosts refuse."""

    def __init__(self):
        self.asked = 0

    def session(self, host):
        self.asked += 1
        raise HostRefusedError(f"host {host!r}: it refused the key; see 'key' in the inventory")

    async def close(self):
        pass


def test_a_host_that_refuses_is_not_asked_again(engine):
    job, refusing = jobs.job(host="mini"), Refusing()
    store.record_run(engine, "run-1", "suite", 1.0, [job])
    hosts = {"mini": Host(address="mini.local")}
    with (
        Leases(engine) as ledger,
        dispatching(refusing, ledger, hosts, {}) as dispatch,
    ):
        (record,) = dispatch([job])
    assert refusing.asked == 1
    assert record.failure.kind == "lost"
    assert "it refused the key" in record.failure.message


class Lines:
    """A session of a host that does each job at once."""

    def __init__(self):
        self.said = asyncio.Queue()
        self.said.put_nowait('{"ready":true}')

    async def place(self, build):
        pass

    async def say(self, line):
        if "job" in json.loads(line):
            order = Order.model_validate_json(line)
            record = Record(**dict(order), status="ok", started=1.0)
            self.said.put_nowait(f'{{"record":{record.model_dump_json()}}}')

    async def hear(self):
        return await self.said.get()


class SlowToEnd:
    """An engine whose sessions take their time to end."""

    def __init__(self):
        self.ended = []

    @asynccontextmanager
    async def session(self, host):
        try:
            yield Lines()
        finally:
            await asyncio.sleep(0.1)
            self.ended.append(host)

    async def close(self):
        pass


@pytest.mark.parametrize("leave", ["the records are closed", "the records are left open"])
def test_who_wants_no_more_records_waits_until_sessions_have_ended(engine, leave):
    wanted = [
        jobs.job(host="mini"),
        jobs.job(host="mini", cell=Cell(benchmark="prefill", cache=Cache(name="turbo"))),
    ]
    slow = SlowToEnd()
    store.record_run(engine, "run-1", "suite", 1.0, wanted)
    hosts = {"mini": Host(address="mini.local")}
    with (
        Leases(engine) as ledger,
        dispatching(slow, ledger, hosts, {}) as dispatch,
    ):
        records = dispatch(wanted)
        next(records)
        if leave == "the records are closed":
            records.close()
    assert slow.ended == ["mini"]
    records.close()


@pytest.mark.slow
def test_a_hundred_faults_lose_nothing_and_count_nothing_twice():
    tally = simulated(100)
    wrong = {
        name: getattr(tally, name) for name in ("missing", "twice", "vanished", "overlaps", "left")
    }
    assert set(wrong.values()) == {0}, wrong


class BrokenTransport:
    """A connection that breaks whenever a session is opened."""

    def open_session(self, timeout):
        raise paramiko.SSHException("Channel closed")


def broken_connection() -> Connection:
    connection = Connection.__new__(Connection)
    connection.name, connection.host = "mini", Host(address="mini.local")
    connection._transport = BrokenTransport()
    return connection


def test_an_error_of_the_ssh_library_is_told_as_a_lost_host():
    with pytest.raises(HostError, match="host 'mini': connection lost: Channel closed; try again"):
        broken_connection().start(["true"], 1.0)

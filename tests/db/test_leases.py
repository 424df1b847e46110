"""Leases: no job and no device is had twice, and what a coordinator held ends with it."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import jobs
from db import queries, store
from db.engine import open_database
from db.leases import Leases, pause, unpause
from worker.record import Failure


@pytest.fixture
def engine(tmp_path):
    made = open_database(str(tmp_path / "farm.db"))
    yield made
    made.dispose()


@pytest.fixture
def queued(engine):
    wanted = [jobs.job(host=host) for host in ("a", "b")]
    store.record_run(engine, "run-1", "suite", 1.0, wanted)
    return wanted


def late(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT attempt, host FROM late_record")).all()


def states(engine):
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT number, state, reason FROM attempt ORDER BY id"))
        return [tuple(row) for row in rows]


def test_a_device_is_leased_to_one_job_at_a_time(engine, queued):
    with Leases(engine) as leases:
        assert leases.lease(queued[0].id, "a", "a") == 1
        assert leases.lease(queued[1].id, "a", "a") is None
        store.record_result(engine, jobs.record(queued[0]))
        assert leases.lease(queued[1].id, "a", "a") == 1


def test_a_job_is_leased_to_one_device_at_a_time(engine, queued):
    with Leases(engine) as leases:
        assert leases.lease(queued[0].id, "a", "a") == 1
        assert leases.lease(queued[0].id, "b", "b") is None
        leases.lose(queued[0].id, 1, "the link broke")
        assert leases.lease(queued[0].id, "b", "b") == 2


@pytest.mark.parametrize(("column", "value"), [("job_id", None), ("lane", "a")])
def test_the_database_itself_refuses_a_second_lease(engine, queued, column, value):
    with Leases(engine) as leases:
        leases.lease(queued[0].id, "a", "a")
        row = {"job_id": queued[1].id, "lane": "b"} | {column: value or queued[0].id}
        insert = text(
            "INSERT INTO attempt (job_id, number, lane, host, epoch, state, leased, reason) "
            "VALUES (:job_id, 9, :lane, 'h', 1, 'leased', 1.0, '')"
        )
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(insert, row)


def test_a_job_that_has_its_record_is_not_leased_and_holds_nobody_up(engine, queued):
    store.record_result(engine, jobs.record(queued[0]))
    with Leases(engine) as one, Leases(engine) as two:
        assert one.lease(queued[0].id, "a", "a") is None
        assert one.settled(queued[0].id)
        assert two.lease(queued[1].id, "a", "a") == 1


def test_what_a_dead_coordinator_held_is_lost_and_can_be_leased(engine, queued):
    dead = Leases(engine)
    assert dead.lease(queued[0].id, "a", "a") == 1
    dead.abandon()
    with Leases(engine) as living:
        assert states(engine) == [(1, "lost", "the coordinator was gone")]
        assert living.lease(queued[0].id, "a", "a") == 2


def test_a_coordinator_that_dies_while_another_waits_holds_it_up_no_longer(engine, queued):
    with Leases(engine) as living:
        dead = Leases(engine)
        assert dead.lease(queued[0].id, "a", "a") == 1
        assert living.lease(queued[1].id, "a", "a") is None
        dead.abandon()
        assert living.lease(queued[1].id, "a", "a") is None, "now it is found to be gone"
        assert living.lease(queued[1].id, "a", "a") == 1


def test_the_leases_of_a_living_coordinator_are_left_alone(engine, queued):
    with Leases(engine) as living:
        living.lease(queued[0].id, "a", "a")
        with Leases(engine):
            assert states(engine) == [(1, "leased", "")]


def test_no_file_of_a_coordinator_is_left(engine, queued, tmp_path):
    with Leases(engine) as leases:
        leases.lease(queued[0].id, "a", "a")
    assert not list(tmp_path.glob("*coordinator*"))


def test_a_record_counts_if_nobody_is_at_the_job_again(engine, queued):
    with Leases(engine) as leases:
        leases.lease(queued[0].id, "a", "a")
        leases.lose(queued[0].id, 1, "the link broke")
        assert store.record_result(engine, jobs.record(queued[0]))
    assert states(engine)[0][:2] == (1, "done")


def test_a_record_that_comes_while_another_attempt_is_under_way_is_kept_but_does_not_count(
    engine, queued
):
    with Leases(engine) as leases:
        leases.lease(queued[0].id, "a", "a")
        leases.lose(queued[0].id, 1, "the link broke")
        leases.lease(queued[0].id, "b", "b")
        assert not store.record_result(engine, jobs.record(queued[0], values=(1.0,)))
        again = jobs.record(queued[0], values=(2.0,), attempt=2, host="b")
        assert store.record_result(engine, again)
    assert queries.records(engine, "run-1") == [again]
    assert late(engine) == [(1, "a")]


def test_the_same_attempt_delivered_twice_is_no_late_record(engine, queued):
    for _ in range(2):
        store.record_result(engine, jobs.record(queued[0]))
    assert late(engine) == []


def test_a_record_after_its_job_was_given_up_is_kept_for_audit(engine, queued):
    failure = Failure(kind="lost", message="no answer")
    store.record_result(engine, jobs.record(queued[0], status="failed", failure=failure, values=()))
    assert not store.record_result(engine, jobs.record(queued[0]))
    assert late(engine) == [(1, "a")]


def test_a_paused_host_is_paused_until_it_is_wanted_again(engine):
    with Leases(engine) as leases:
        pause(engine, "a", "an update")
        pause(engine, "a", "a long update")
        assert (leases.paused("a"), leases.paused("b")) == (True, False)
        unpause(engine, "a")
        assert not leases.paused("a")


def test_a_record_of_a_job_that_is_not_known_is_not_adopted(engine, queued):
    with Leases(engine) as leases:
        assert not leases.adopt(jobs.record(jobs.job(run="elsewhere")))
        assert leases.adopt(jobs.record(queued[0]))
    with sqlite3.connect(str(engine.url.database)) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)
    connection.close()

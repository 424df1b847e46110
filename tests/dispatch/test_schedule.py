"""Which job comes next: order, fairness, and what becomes of the jobs of a lost host."""

from __future__ import annotations

import jobs
from farm.dispatch.schedule import Schedule

LANES = {"a": frozenset({"a", "m2"}), "b": frozenset({"b", "m2"})}


def plan(*wanted, expected=None):
    return Schedule(wanted, LANES, expected or {})


def job(host, number=0, run="run-1"):
    return jobs.job(run=run, host=host, repetition=number)


def test_a_hosts_own_jobs_come_in_their_order():
    first, second = job("a", 2), job("a", 1)
    schedule = plan(first, second)
    assert [schedule.take("a"), schedule.take("a"), schedule.take("a")] == [first, second, None]


def test_any_host_of_a_class_does_a_job_of_the_class_once():
    shared = job("m2")
    schedule = plan(shared)
    assert schedule.take("b") == shared
    assert not schedule.has("a")
    assert schedule.holds("a"), "it comes back if b is lost"
    schedule.finish(shared)
    assert not schedule.holds("a")


def test_of_a_class_the_longest_job_comes_first():
    short = job("m2")
    cell = short.cell.model_copy(update={"params": {"context": 9}})
    long = short.model_copy(update={"cell": cell})
    schedule = plan(short, long, expected={(cell.id, "a"): 60.0, (short.cell.id, "b"): 5.0})
    assert schedule.take("a") == long


def test_what_was_begun_comes_before_what_was_not():
    begun, fresh = job("a", 1), job("a", 2)
    schedule = plan(begun, fresh)
    schedule.give_back(schedule.take("a"))
    assert schedule.take("a") == begun


def test_runs_take_turns():
    wanted = [job("a", number, run) for run in ("one", "two") for number in range(2)]
    schedule = plan(*wanted)
    assert [schedule.take("a").run for _ in wanted] == ["one", "two", "one", "two"]


def test_a_lane_that_is_gone_leaves_only_what_no_other_can_do():
    mine, shared = job("a"), job("m2")
    schedule = plan(mine, shared)
    assert schedule.surrender("a") == [mine]
    assert schedule.take("b") == shared


def test_the_last_lane_of_a_class_leaves_the_jobs_of_the_class():
    shared = job("m2")
    schedule = plan(shared)
    assert schedule.surrender("a") == []
    assert schedule.surrender("b") == [shared]

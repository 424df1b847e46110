"""Before a long measurement: what is in the way is said, waited for a while, and never hidden."""

from __future__ import annotations

import pytest

import jobs
from farm.campaign.look_first import PAUSE, here, look_first
from farm.plan.inventory import Host, Inventory
from worker.machine.reasons import KINDS, Reason

BATTERY = (Reason.of("on battery", source="battery"),)


@pytest.fixture
def looked():
    """Return a function that looks at a machine of given states, and what was told and slept."""

    def looked(*states, targets=("local",), **options):
        told, slept, rest = [], [], iter(states)
        left = look_first(
            Inventory(hosts={"local": Host(local=True), "mini": Host(address="mini.local")}),
            targets,
            told.append,
            look=lambda: next(rest),
            sleep=slept.append,
            **options,
        )
        return left, told, slept

    return looked


def test_a_quiet_machine_is_not_mentioned(looked):
    assert looked(()) == ((), [], [])


def test_what_is_in_the_way_is_named_with_what_to_do_and_waited_for(looked):
    left, told, slept = looked(jobs.BUSY, jobs.BUSY, ())
    assert left == ()
    assert "other processes used 0.80 cores (close what else runs on the machine)" in told[0]
    assert "no speed counts; bytes and quality do" in told[0]
    assert "--anyway" in told[1]
    assert told[-1] == "local: ready"
    assert slept == [PAUSE, PAUSE]


def test_a_machine_that_stays_busy_is_waited_for_so_long_and_no_longer(looked):
    left, told, slept = looked(*[jobs.BUSY] * 4, patience=3 * PAUSE)
    assert left == jobs.BUSY
    assert told[-1].endswith("going on")
    assert len(slept) == 3


def test_anyway_says_it_and_goes_on_at_once(looked):
    left, told, slept = looked(jobs.BUSY, patience=0.0)
    assert (left, len(told), slept) == (jobs.BUSY, 1, [])


def test_a_battery_is_named_and_not_waited_for(looked):
    left, told, slept = looked(BATTERY)
    assert (left, slept) == (BATTERY, [])
    assert "plug it in" in told[0]


def test_other_machines_than_this_one_are_not_looked_at(looked):
    assert looked(targets=("mini",)) == ((), [], [])


@pytest.mark.slow
def test_this_machine_can_be_looked_at():
    assert all(reason.kind in KINDS for reason in here())

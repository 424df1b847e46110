"""A host that is hot or busy is waited for, up to a limit; a battery is not."""

from __future__ import annotations

from dataclasses import replace

from machines import QUIET, later, state
from worker.machine.canary import History
from worker.machine.readiness import PAUSE, looker, patience, wait
from worker.machine.reasons import Reason


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


HOT, WARM = (Reason.of("hot", level=level) for level in ("heavy", "moderate"))


def waited(answers: list[list[Reason]], limit: float) -> tuple[list[Reason], float]:
    clock = Clock()
    rest = iter(answers)
    left = wait(lambda: next(rest), limit, clock=clock, sleep=clock.sleep)
    return left, clock.now


def test_a_ready_host_is_not_waited_for():
    assert waited([[]], 60.0) == ([], 0.0)


def test_a_hot_host_is_waited_for_until_it_has_cooled(caplog):
    assert waited([[HOT], [WARM], []], 60.0) == (
        [],
        2 * PAUSE,
    )
    assert "not ready after 5 s: thermal level moderate" in caplog.text


def test_a_wait_ends_at_its_limit_with_the_reasons_that_are_left():
    assert waited([[HOT]] * 9, 12.0) == ([HOT], 12.0)


def test_without_patience_nobody_looks():
    assert waited([], 0.0) == ([], 0.0)


def test_a_wait_takes_a_share_of_the_deadline_and_none_on_linux():
    assert patience("Darwin", 600.0) == 120.0
    assert patience("Darwin", 100.0) == 25.0
    assert patience("Linux", 600.0) == 0.0


def looked(tmp_path, busy: float = 0.0, song: float = 1.0, **facts) -> list[str]:
    history = History(tmp_path / "canaries.json", "here")
    history.add({"product": 1.0})
    readings = iter([QUIET, replace(later(QUIET, 0.5), busy=QUIET.busy + 0.5 + busy)])
    reasons = looker(
        lambda: state(**facts),
        history,
        measure=lambda: {"product": song},
        reading=lambda: next(readings),
        sleep=lambda seconds: None,
    )()
    return [reason.sentence for reason in reasons]


def test_a_look_names_what_a_wait_can_mend(tmp_path):
    assert looked(tmp_path) == []
    assert looked(tmp_path, thermal_level="heavy") == ["thermal level heavy"]
    assert looked(tmp_path, gpu_utilization=0.5) == ["another process used the GPU to 50%"]
    assert looked(tmp_path, busy=0.5) == ["other processes used 1.00 cores"]
    assert looked(tmp_path, song=2.0) == ["canary product took 2.00 times the host's best"]


def test_a_look_does_not_wait_for_a_battery(tmp_path):
    assert looked(tmp_path, power_source="battery", power_mode="low", priority=20) == []

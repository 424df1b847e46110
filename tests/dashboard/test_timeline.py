from dataclasses import dataclass

from dashboard.analysis import timeline
from dashboard.analysis.timeline import Event


@dataclass(frozen=True)
class Point:
    record: int
    build: str
    value: float
    comparison_key: str = "k"
    valid: bool = True

    @property
    def low(self):
        return self.value - 1

    @property
    def high(self):
        return self.value + 1


AXIS = timeline.slots((build, f"{build}-commit-of-some-length") for build in "abcde")


def test_commits_keep_their_order():
    assert [(slot.position, slot.build, slot.commit) for slot in AXIS[:2]] == [
        (0, "a", "a-commit-o"),
        (1, "b", "b-commit-o"),
    ]


def test_a_commit_without_a_record_ends_the_line():
    found = timeline.places([Point(1, "a", 10), Point(2, "b", 11), Point(3, "d", 12)], AXIS)
    assert [(place.position, place.segment) for place in found] == [(0, 1), (1, 1), (3, 2)]


def test_another_environment_ends_the_line_and_is_marked():
    points = [Point(1, "a", 10), Point(2, "b", 11, "new mlx"), Point(3, "c", 11, "new mlx")]
    found = timeline.places(points, AXIS)
    assert [place.segment for place in found] == [1, 2, 2]
    (event,) = timeline.environment_changes(points, AXIS)
    assert (event.position, event.kind) == (1, "environment")


def test_several_records_of_a_commit_are_one_place():
    (place,) = timeline.places([Point(n, "a", 10 + n) for n in range(3)], AXIS)
    assert (place.value, place.low, place.high, place.records) == (11, 9, 13, 3)


def test_an_invalid_record_is_shown_but_moves_nothing():
    points = [Point(1, "a", 10), Point(2, "a", 99, valid=False), Point(3, "b", 5, valid=False)]
    first, second = timeline.places(points, AXIS)
    assert (first.value, first.valid) == (10, True)
    assert (second.value, second.valid) == (5, False)
    assert timeline.environment_changes(points, AXIS) == []


def test_commits_off_the_axis_are_left_out():
    points = [Point(1, "z", 10), Point(2, "z", 11, "other")]
    assert timeline.places(points, AXIS) == []
    assert timeline.environment_changes(points, AXIS) == []


def test_the_chart_shows_events_raw_samples_and_units():
    shown = timeline.places([Point(1, "a", 10), Point(2, "b", 11, valid=False)], AXIS)
    happened = [
        Event(1, "regression", "-5 %"),
        Event(0, "regress", "-5 %"),
        Event(0, "pass", "0 %"),
        Event(1, "environment", "mlx"),
    ]
    drawn = timeline.chart(shown, [(0, 10.5)], happened, AXIS, "generation_tps").to_dict()
    titles = str(drawn)
    assert "generation tps (tokens/s)" in titles
    assert "commit, in the order of measuring" in titles
    assert len(drawn["layer"]) == 8

from dataclasses import dataclass

from dashboard.analysis import timeline
from dashboard.analysis.timeline import Event
from dashboard.charts.timeline import chart


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


CONDITIONS = {"k": {"mlx": "0.31"}, "new mlx": {"mlx": "0.32"}}
AXIS = timeline.slots((build, f"{build}-commit-of-some-length", "") for build in "abcde")


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
    (event,) = timeline.environment_changes(points, AXIS, CONDITIONS)
    assert (event.position, event.kind) == (1, "environment")
    assert event.text == "mlx 0.32 instead of 0.31"


def test_several_records_of_a_commit_are_one_place():
    (place,) = timeline.places([Point(n, "a", 10 + n) for n in range(3)], AXIS)
    assert (place.value, place.low, place.high, place.records) == (11, 9, 13, 3)


def test_an_invalid_record_is_shown_but_moves_nothing():
    points = [Point(1, "a", 10), Point(2, "a", 99, valid=False), Point(3, "b", 5, valid=False)]
    first, second = timeline.places(points, AXIS)
    assert (first.value, first.valid) == (10, True)
    assert (second.value, second.valid) == (5, False)
    assert timeline.environment_changes(points, AXIS, CONDITIONS) == []


def test_commits_off_the_axis_are_left_out():
    points = [Point(1, "z", 10), Point(2, "z", 11, "other")]
    assert timeline.places(points, AXIS) == []
    assert timeline.environment_changes(points, AXIS, CONDITIONS) == []


def test_the_chart_shows_events_raw_samples_and_units():
    shown = timeline.places([Point(1, "a", 10), Point(2, "b", 11, valid=False)], AXIS)
    happened = [
        Event(1, "regression", "-5 %"),
        Event(0, "regress", "-5 %"),
        Event(0, "pass", "0 %"),
        Event(1, "environment", "mlx"),
    ]
    drawn = chart(
        shown, [(0, 10.5, "a", "run?record=1")], happened, AXIS, "generation_tps"
    ).to_dict()
    titles = str(drawn)
    assert "decode speed (tokens/s)" in titles
    assert "commit, in the order of measuring" in titles
    assert len(drawn["layer"]) == 9


def test_a_series_as_shares_begins_at_one_and_bears_its_device():
    found = timeline.places([Point(1, "a", 10), Point(2, "b", 9)], AXIS)
    shown = timeline.relative(found, "M5 Max")
    assert [(place.value, place.name) for place in shown] == [(1.0, "M5 Max"), (0.9, "M5 Max")]


def test_the_band_is_that_of_the_segment_before_a_point():
    points = [Point(1, "a", 10), Point(2, "b", 10), Point(3, "c", 8)]
    first, _, last = timeline.with_band(timeline.places(points, AXIS), 0.01)
    assert (last.floor, last.ceiling) == (first.floor, first.ceiling)
    assert last.value < last.floor


def test_the_headline_tells_the_change_of_the_unbroken_line():
    found = timeline.places([Point(1, "a", 10), Point(3, "c", 10), Point(4, "d", 9)], AXIS)
    assert timeline.headline(found, "M5 Max, decode", 0.01) == (
        "M5 Max, decode: -10.0% since c-commit-o, 3 of 3 commits count, "
        "noise 1.0% from point to point."
    )


def test_the_overview_says_since_which_commit_each_device_moved():
    fell = timeline.places([Point(1, "a", 10), Point(2, "b", 9)], AXIS)
    rose = timeline.places([Point(3, "b", 10), Point(4, "c", 11)], AXIS)
    once = timeline.places([Point(5, "c", 10)], AXIS)
    said = timeline.overview("decode speed", [("M2", fell), ("M5", rose), ("M1", once)])
    assert said == (
        "decode speed: M2 -10.0% since a-commit-o; M5 +10.0% since b-commit-o, "
        "the first commit shown under the same conditions."
    )
    assert "measured at one commit" in timeline.overview("decode speed", [("M1", once)])

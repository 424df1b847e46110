"""One metric over commits: gaps stay gaps, and a line ends where the environment changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from dashboard.analysis import figures
from dashboard.analysis.comparability import Facts, differences
from db.queries import Point

OUTCOMES = ("pass", "improve", "inconclusive", "regress", "invalid")
HASH = 10
SURE = 1.96  # deviations: 95 % of points that did not change lie within


@dataclass(frozen=True)
class Slot:
    """A commit's place on the axis; ``label`` says it with subject and date."""

    position: int
    build: str
    commit: str
    label: str = ""


@dataclass(frozen=True)
class Place:
    """What a series measured at one commit; points of one ``segment`` are joined by a line.

    ``floor`` to ``ceiling`` is where the next point lies if nothing changes, None while the noise
    is unknown; ``record`` is the newest of its records.
    """

    position: int
    commit: str
    value: float
    low: float
    high: float
    records: int
    valid: bool
    segment: int
    record: int = 0
    label: str = ""
    name: str = ""
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened at a commit.

    ``kind`` is ``regression``, ``change point``, ``environment`` or a gate's outcome.
    """

    position: int
    kind: str
    text: str


def slots(builds: Iterable[tuple[str, str, str]]) -> list[Slot]:
    """Give (build, commit, label), oldest first, their places."""
    return [Slot(i, build, commit[:HASH], label) for i, (build, commit, label) in enumerate(builds)]


def places(points: Sequence[Point], axis: Sequence[Slot]) -> list[Place]:
    """Put a series' points at their commits; several valid records of a commit are one place."""
    by_build: dict[str, list[Point]] = {}
    for point in points:
        by_build.setdefault(point.build, []).append(point)
    found: list[Place] = []
    before: tuple[int, str] | None = None
    segment = 0
    for slot in axis:
        here = by_build.get(slot.build, [])
        valid = [point for point in here if point.valid]
        if not here:
            continue
        shown = valid or here
        if valid:
            key = shown[-1].comparison_key
            if before != (slot.position - 1, key):
                segment += 1
            before = (slot.position, key)
        found.append(_place(slot, shown, segment, valid=bool(valid)))
    return found


def _place(slot: Slot, shown: Sequence[Point], segment: int, *, valid: bool) -> Place:
    return Place(
        slot.position,
        slot.commit,
        median(point.value for point in shown),
        min(point.low for point in shown),
        max(point.high for point in shown),
        len(shown),
        valid,
        segment,
        shown[-1].record,
        slot.label,
    )


def with_band(shown: Sequence[Place], noise: float | None) -> list[Place]:
    """Add to each valid place the band of 95 % around the middle of its segment so far."""
    if noise is None:
        return list(shown)
    found: list[Place] = []
    values: dict[int, list[float]] = {}
    for place in shown:
        if not place.valid:
            found.append(place)
            continue
        seen = values.setdefault(place.segment, [])
        middle = median(seen) if seen else place.value
        half = SURE * noise * abs(middle)
        found.append(replace(place, floor=middle - half, ceiling=middle + half))
        seen.append(place.value)
    return found


def relative(shown: Sequence[Place], name: str) -> list[Place]:
    """Return a series as shares of its first valid value, under its device's name."""
    first = next((place.value for place in shown if place.valid and place.value), None)
    if first is None:
        return []
    return [
        replace(
            place,
            value=place.value / first,
            low=place.low / first,
            high=place.high / first,
            name=name,
            floor=None,
            ceiling=None,
        )
        for place in shown
        if place.valid
    ]


def environment_changes(
    points: Sequence[Point], axis: Sequence[Slot], conditions: Mapping[str, Facts]
) -> list[Event]:
    """Return where a series' comparison key differs from the one before, and what changed."""
    position = {slot.build: slot.position for slot in axis}
    found = []
    before: str | None = None
    for point in (point for point in points if point.valid and point.build in position):
        if before is not None and before != point.comparison_key:
            changed = differences(
                conditions.get(before, {}), conditions.get(point.comparison_key, {})
            )
            text = "; ".join(changed) or "the environment changed"
            found.append(Event(position[point.build], "environment", text))
        before = point.comparison_key
    return found


def headline(shown: Sequence[Place], what: str, noise: float | None) -> str:
    """Say how a series stands now against where its last unbroken line began."""
    valid = [place for place in shown if place.valid]
    if not valid:
        return f"{what}: nothing that counts was measured at these commits."
    known = f", noise {noise:.1%} from point to point" if noise is not None else ""
    moved = _moved(valid)
    since = f"{figures.percent(moved[0])} since {moved[1]}" if moved else "its first point"
    return f"{what}: {since}, {len(valid)} of {len(shown)} commits count{known}."


def overview(what: str, devices: Sequence[tuple[str, Sequence[Place]]]) -> str:
    """Say of each device's line how it stands now against where it began, and at which commit."""
    said: dict[str, list[str]] = {}
    for name, shown in devices:
        if moved := _moved([place for place in shown if place.valid]):
            said.setdefault(moved[1], []).append(f"{name} {figures.percent(moved[0])}")
    if not said:
        return f"{what}: measured at one commit under its conditions, so nothing can have changed."
    since = "; ".join(f"{', '.join(found)} since {commit}" for commit, found in said.items())
    return f"{what}: {since}, the first commit shown under the same conditions."


def _moved(valid: Sequence[Place]) -> tuple[float, str] | None:
    """Return how far the last unbroken line went, and the commit where it began; None for one."""
    last = [place for place in valid if place.segment == valid[-1].segment]
    if len(last) < 2 or not last[0].value:  # noqa: PLR2004  a change has two ends
        return None
    return last[-1].value / last[0].value - 1, last[0].commit

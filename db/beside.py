"""Published figures beside measured ones, and which of the published ones are doubtful."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from db.queries import Figure, Newest, Published
from worker import roofline
from worker.metrics import typical
from worker.roofline import Speed

BASELINE = "fp16"
#: Published ratios are rounded to a percent or cut off there.
ROUNDING = 0.0101

Measured = Newest | Figure


@dataclass(frozen=True)
class Beside:
    """A published figure, what was measured of it on one device, and what is doubtful.

    ``measured`` is None and ``device`` empty where nothing was; ``difference`` is a relative
    change, or for a bound None.
    """

    published: Published
    device: str
    measured: float | None
    difference: float | None
    doubts: tuple[str, ...]

    @property
    def flag(self) -> str:
        """Say why the published figure cannot be, or is suspicious; mostly nothing."""
        if not self.doubts:
            return ""
        kind = "impossible" if roofline.TOO_FAST in self.doubts else "suspicious"
        return f"{kind}: {'; '.join(self.doubts)}"


def set_beside(table: Sequence[Published], measured: Sequence[Measured]) -> list[Beside]:
    """Put each published figure beside what was measured on each device with its chip."""
    return [one for row in table for one in _of_row(row, measured, doubts(row, table))]


def doubts(row: Published, table: Sequence[Published]) -> tuple[str, ...]:
    """Say why a published figure cannot be, or is suspicious, by the rest of its table."""
    reasons: list[str] = []
    if row.kind == "ratio":
        reasons.extend(_not_following(row, table))
    elif row.kind == "figure" and row.metric == "generation_tps":
        reasons.extend(_by_roofline(row, table))
    elif row.kind == "figure" and row.metric == "prompt_tps":
        reasons.extend(_slow_prefill(row, table))
    return tuple(reasons)


def _of_row(
    row: Published, measured: Sequence[Measured], doubts: tuple[str, ...]
) -> Iterator[Beside]:
    devices = dict.fromkeys(point.device for point in measured if _chip(point.device) == row.device)
    nothing = True
    for device in devices:
        here = [point for point in measured if point.device == device]
        value = _measured(row, here)
        if value is not None:
            nothing = False
            yield Beside(row, device, value, _difference(row, value), doubts)
    if nothing:
        yield Beside(row, "", None, None, doubts)


def _chip(device: str) -> str:
    """Return what sources call a device: its name without cores, memory and origin."""
    return device.partition(",")[0].partition(" (")[0]


def _measured(row: Published, here: Iterable[Measured]) -> float | None:
    """Return what one device measured of a figure; of any context where none was said."""
    values: dict[str | None, list[float]] = {row.cache: [], BASELINE: []}
    for point in here:
        place = (point.model, point.benchmark, point.metric)
        same = place == (row.model, row.benchmark, row.metric)
        if same and point.cache in values and row.context in (None, point.context):
            values[point.cache].append(point.value)
    ours, exact = (values[name] for name in (row.cache, BASELINE))
    if not ours or (row.kind == "ratio" and not exact):
        return None
    value = typical(row.metric, ours)
    return value / typical(row.metric, exact) if row.kind == "ratio" else value


def _difference(row: Published, value: float) -> float | None:
    if row.kind in ("at most", "at least") or not row.value:
        return None
    return value / row.value - 1


def _by_roofline(row: Published, table: Sequence[Published]) -> Iterator[str]:
    model = roofline.known_model(row.model or "")
    bandwidth = roofline.nominal(row.device)
    if model is None or bandwidth is None:
        return
    # A figure that does not say its context is judged as if the context were empty.
    line = [_speed(other) for other in table if _same_line(row, other)]
    explained = roofline.explain(line, model, {row.device: bandwidth})
    yield from next(one.suspicious for one in explained if one.speed == _speed(row))


def _same_line(row: Published, other: Published) -> bool:
    names = ("source", "device", "model", "cache", "benchmark", "metric", "kind")
    same = all(getattr(row, name) == getattr(other, name) for name in names)
    return same and (row.context is None) == (other.context is None)


def _speed(row: Published) -> Speed:
    of = partial(Speed, row.device, row.cache or "none", row.context or 0)
    share = roofline.nominal_share(row.cache or "none")
    return of(row.value, row.value, row.value, share, published=True)


def _slow_prefill(row: Published, table: Sequence[Published]) -> Iterator[str]:
    for other in table:
        place = (other.source, other.device, other.model, other.cache)
        same = place == (row.source, row.device, row.model, row.cache)
        decoded = (other.metric, other.kind) == ("generation_tps", "figure")
        if same and decoded and other.value > roofline.RISE * row.value:
            yield (
                f"slower than decode ({other.value:g}), though many tokens share each read of "
                "the weights"
            )
            return


def _not_following(row: Published, table: Sequence[Published]) -> Iterator[str]:
    """Compute a published ratio again from the two figures of its table."""
    figures = {
        other.cache: other.value
        for other in table
        if (other.device, other.model, other.benchmark, other.context)
        == (row.device, row.model, row.benchmark, row.context)
        and (other.metric, other.kind) == (row.metric, "figure")
    }
    ours, exact = figures.get(row.cache), figures.get(BASELINE)
    if ours is None or not exact:
        return
    if abs(ours / exact - row.value) > ROUNDING:
        yield f"{ours:g} is {ours / exact:.1%} of {exact:g}, not {row.value:.0%}"

"""Draw a run's memory and decode speed over context as an SVG: the picture of docs/turbo-kv.md.

python -m farm.bench.over_context [--run RUN] [--db FILE] docs/turbo-kv.svg

The run is the newest of suite ``over-context``. A speed is a share of fp16's in the same rounds,
with the lowest and highest round; what does not count is drawn hollow. The table that is printed
has the same figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from db import queries
from db.engine import open_database
from farm.plan import inventory
from farm.report.figures import Figure, figures
from farm.report.table import aligned

SUITE = "over-context"
METRICS = {"kv_bytes": "KV memory, MB", "generation_tps": "decode speed, share of fp16"}
COLOURS = ("#6b7280", "#b45309", "#1d4ed8")
WIDTH, HEIGHT = 360, 240
LEFT, TOP, BETWEEN, BELOW = 52, 42, 84, 84


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m farm.bench.over_context")
    parser.add_argument("file", type=Path)
    parser.add_argument("--run")
    parser.add_argument("--db")
    args = parser.parse_args()
    engine = open_database(args.db or inventory.load(inventory.FILE).database)
    run = args.run or next((one.id for one in queries.runs(engine) if one.suite == SUITE), None)
    if run is None:
        print(f"no run of it is stored; first: farm run --suite {SUITE}", file=sys.stderr)
        return 2
    records = queries.records(engine, run)
    found = [one for one in figures(records) if one.metric in METRICS]
    device = next((one.environment.device for one in records), "")
    args.file.write_text(svg(found, f"{found[0].model} model, {device}"))
    print(table(found))
    return 0


def table(found: Sequence[Figure]) -> str:
    rows = [
        [
            one.cache,
            one.metric,
            str(one.context),
            f"{_value(one):.3g}",
            "" if one.counts_with_ratio else "*",
        ]
        for one in sorted(found, key=lambda one: (one.metric, one.cache, one.context or 0))
    ]
    return aligned(["cache", "metric", "context", "value", "*: does not count"], rows)


def svg(found: Sequence[Figure], title: str) -> str:
    """Return the picture: a panel a metric, a line a cache."""
    caches = list(dict.fromkeys(one.cache for one in found))
    parts = [_text(LEFT, 16, title, "start", 13)]
    for number, (metric, name) in enumerate(METRICS.items()):
        own = [one for one in found if one.metric == metric]
        parts += _panel(own, caches, name, LEFT + number * (WIDTH + BETWEEN))
    for number, cache in enumerate(caches):
        y = TOP + HEIGHT + 46 + 16 * number
        line = f'<path d="M{LEFT} {y - 4}h18" stroke="{_colour(caches, cache)}" stroke-width="2"/>'
        parts += [line, _text(LEFT + 24, y, cache)]
    if not all(one.counts_with_ratio for one in found):
        hollow = "hollow: does not count, the machine was disturbed"
        parts.append(_text(LEFT + WIDTH + BETWEEN, TOP + HEIGHT + 46, hollow))
    wide, high = LEFT + 2 * WIDTH + BETWEEN + 16, TOP + HEIGHT + BELOW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" '
        f'font-family="sans-serif"><rect width="{wide}" height="{high}" fill="white"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def _panel(found: Sequence[Figure], caches: Sequence[str], name: str, left: int) -> Iterator[str]:
    contexts = sorted({one.context or 0 for one in found})
    most = 1.1 * max((_bounds(one)[1] for one in found), default=1.0)

    def at(context: int, value: float) -> tuple[float, float]:
        share = (context - contexts[0]) / max(contexts[-1] - contexts[0], 1)
        return left + 12 + share * (WIDTH - 24), TOP + HEIGHT * (1 - value / most)

    yield f'<path d="M{left} {TOP}v{HEIGHT}h{WIDTH}" fill="none" stroke="#9ca3af"/>'
    yield _text(left, TOP - 6, name)
    for context in contexts:
        x, y = at(context, 0)
        yield _text(x, y + 16, f"{context}", "middle")
    yield _text(left + WIDTH / 2, TOP + HEIGHT + 30, "context, tokens", "middle")
    for mark in (0.25, 0.5, 0.75, 1.0):
        y = TOP + HEIGHT * (1 - mark)
        yield f'<path d="M{left} {y}h{WIDTH}" stroke="#e5e7eb"/>'
        yield _text(left - 6, y + 4, f"{mark * most:.2g}", "end")
    for cache in caches:
        own = sorted((one for one in found if one.cache == cache), key=lambda one: one.context or 0)
        points = [at(one.context or 0, _value(one)) for one in own]
        colour = _colour(caches, cache)
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if path:
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for one, (x, y) in zip(own, points, strict=True):
            low, high = (at(one.context or 0, bound)[1] for bound in _bounds(one))
            yield f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>'
            fill = colour if one.counts_with_ratio else "white"
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}" stroke="{colour}"/>'


def _value(one: Figure) -> float:
    if one.metric == "kv_bytes":
        return one.value / 1e6
    return one.ratio.value if one.ratio else 1.0


def _bounds(one: Figure) -> tuple[float, float]:
    if one.metric == "generation_tps" and one.ratio:
        return one.ratio.low, one.ratio.high
    return _value(one), _value(one)


def _colour(caches: Sequence[str], cache: str) -> str:
    return COLOURS[caches.index(cache) % len(COLOURS)]


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 11) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {where} fill="#374151">{escape(words)}</text>'


if __name__ == "__main__":
    sys.exit(main())

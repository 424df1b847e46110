"""What a regression says in words: which metric, where, by how much, since which commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from dashboard.analysis import figures, naming
from dashboard.analysis.readings import lower_is_better
from db.queries import Affected, Description, RegressionRow
from worker.metrics import METRICS

MOST = 4  # names that a line takes
ALIKE = 0.5  # of a change: where fp16 has that much of it, the cache is not to blame
WORSE = {"speed": "slower", "bytes": "larger", "memory": "larger"}
VERBS = {"generation_tps": "decode", "prompt_tps": "prefill", "ttft": "first token"}


def headline(
    row: RegressionRow, affected: Sequence[Affected], known: Mapping[str, Description]
) -> str:
    """Write a regression as a sentence: since which commit, what, how much, where, how sure."""
    since = naming.revision(row.culprit or row.bad, known)
    sure = _sure(row)
    if not affected:
        return f"Since {since}: {figures.percent(row.effect)} on {row.branch}{sure}."
    if is_slow(row):
        between = f"{naming.revision(row.good, known)} and {naming.revision(row.bad, known)}"
        return (
            f"Between {between} {_what(affected)} became {_change(row, affected)} "
            f"{_where(affected)}, slowly: no single step.{_beside_fp16(affected)}"
        )
    return (
        f"Since {since} {_what(affected)} is {_change(row, affected)} {_where(affected)}{sure}."
        f"{_beside_fp16(affected)}"
    )


def overview(rows: Sequence[RegressionRow], known: Mapping[str, Description]) -> str:
    """Say how many regressions are open, since which commits, and how many are not."""
    now = [row for row in rows if row.state == "open"]
    since = ", ".join(naming.revision(row.culprit or row.bad, known) for row in now[:MOST])
    count = f"{len(now)} regressions are" if len(now) > 1 else "1 regression is"
    counted = Counter(row.state for row in rows)
    others = [f"{counted[one]} {one}" for one in ("acknowledged", "withdrawn") if counted[one]]
    first = f"{count} open, since {since}" if now else "No regression is open"
    return "; ".join([first, *others]) + "."


def _what(affected: Sequence[Affected]) -> str:
    metrics = list(
        dict.fromkeys(VERBS.get(one.metric, naming.metric(one.metric)) for one in affected)
    )
    caches = list(dict.fromkeys(naming.cache(one.cache) for one in affected if one.cache))
    contexts = sorted({one.context for one in affected if one.context})
    words = " and ".join(metrics[:MOST])
    if contexts:
        words += f" at {_listed([figures.context(one) for one in contexts], 'contexts')}"
    if caches:
        words += f" with {_listed(caches, 'caches')}"
    return words


def _listed(names: Sequence[str], what: str) -> str:
    """Write a few names, or how many they are."""
    return ", ".join(names) if len(names) <= MOST else f"{len(names)} {what}"


def _change(row: RegressionRow, affected: Sequence[Affected]) -> str:
    """Write the change by its worse side: ``4.8% slower (3.9 to 5.7%)``."""
    metric = affected[0].metric
    kind = METRICS[metric].kind if metric in METRICS else "other"
    lower = lower_is_better(metric)
    gains = [-one if lower else one for one in (row.effect, *_bounds(affected))]
    word = WORSE.get(kind, "worse") if gains[0] < 0 else "better"
    text = f"{abs(gains[0]):.1%} {word}"
    bounds = sorted(100 * (-gain if gains[0] < 0 else gain) for gain in gains[1:])
    return f"{text} ({bounds[0]:.1f} to {bounds[1]:.1f}%)" if bounds else text


def _bounds(affected: Sequence[Affected]) -> tuple[float, ...]:
    """Return the typical interval that the gate gave, nothing where it gave none."""
    lows = [one.low for one in affected if one.low is not None]
    highs = [one.high for one in affected if one.high is not None]
    return (median(lows), median(highs)) if lows and highs else ()


def _where(affected: Sequence[Affected]) -> str:
    devices = list(dict.fromkeys(one.device for one in affected))
    if len(devices) == 1:
        return f"on {naming.chip(devices[0])}"
    return f"on {len(devices)} devices ({_listed(list(map(naming.chip, devices)), 'in all')})"


def _beside_fp16(affected: Sequence[Affected]) -> str:
    """Say so where fp16 lost as well: then it is not the cache."""
    changes = [
        (one.effect, one.reference) for one in affected if one.reference is not None and one.effect
    ]
    shares = [reference / effect for effect, reference in changes]
    if not shares or median(shares) < ALIKE:
        return ""
    lost = figures.percent(median(reference for _, reference in changes))
    return f" fp16 lost there too ({lost}): it is the machine or the model's path, not the cache."


def _sure(row: RegressionRow) -> str:
    if row.confidence and row.culprit:
        return f"; culprit {row.confidence:.0%} sure"
    return f"; between {row.good[:10]} and {row.bad[:10]}"


def is_slow(row: RegressionRow) -> bool:
    """Tell whether a night saw a loss over many commits and no step."""
    return bool(row.series) and all(one.get("kind") == "slow" for one in row.series)


def slowly(rows: Sequence[RegressionRow], cell: str, metric: str, device: str) -> str:
    """Say of one series how it fell without a step, as the newest night that saw it did."""
    for row in rows:
        for one in row.series:
            mine = (one["cell"], one["metric"], one["device"]) == (cell, metric, device)
            if mine and one.get("kind") == "slow" and row.state != "withdrawn":
                size = figures.percent(one.get("effect", row.effect))
                return f"{size} between {row.good[:10]} and {row.bad[:10]}, slowly: no single step."
    return ""


def newest_open(rows: Sequence[RegressionRow]) -> RegressionRow | None:
    """Return the newest regression that nobody has acknowledged."""
    return next((row for row in rows if row.state == "open"), None)

"""The verdict of a gate as a table, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from farm.judge.cell_gate import SeriesVerdict
from farm.judge.verdict import Outcome
from farm.report.progress import not_counting
from farm.report.run import record_name
from farm.report.table import aligned, counted, percent
from worker.metrics import METRICS, typical
from worker.record import Record

HEADER = ("host", "series", "metric", "verdict", "change", "low", "high", "pairs", "deviation")
WORDS = 120  # characters of a failure while pairs are shown; the verdict has all of them
MEANING: dict[Outcome, str] = {
    "pass": "no series is worse than its tolerance",
    "improve": "better, and nothing is worse than its tolerance",
    "regress": "worse than the tolerance, confirmed by a second measurement",
    "inconclusive": "the noise is too large to tell",
    "invalid": "something could not be measured",
}


def meaning(joint: Outcome, verdicts: Sequence[SeriesVerdict]) -> str:
    """Say what the joint outcome of some verdicts means."""
    worse = [one for one in verdicts if one.verdict.outcome == "regress"]
    if worse and not any(one.verdict.pairs for one in worse):
        return "the candidate computes wrongly where the baseline does not"
    return MEANING[joint]


def text(verdicts: Sequence[SeriesVerdict]) -> str:
    """Return the table and, below it, the notes of what could not be measured."""
    notes = [f"{one.host}: {one.cell.label}: {one.note}" for one in verdicts if one.note]
    told = dict.fromkeys(notes)
    return "\n".join([aligned(HEADER, [row(one) for one in verdicts]), *told])


def markdown(
    joint: Outcome, verdicts: Sequence[SeriesVerdict], reproduce: str, remarks: Sequence[str]
) -> str:
    """Return the verdict first, then what changed, the rest folded, and how to reproduce it."""
    changed = [one for one in verdicts if one.verdict.outcome != "pass"]
    rest = [one for one in verdicts if one.verdict.outcome == "pass"]
    told = meaning(joint, verdicts)
    means = [f"{told[0].upper()}{told[1:]}."] if verdicts else []
    parts = [f"## Gate: {joint}", *means, *remarks]
    if changed:
        parts.append(_markdown_table(changed))
    parts += dict.fromkeys(f"- {one.cell.label}: {one.note}" for one in changed if one.note)
    if rest:
        summary = f"<summary>{len(rest)} series without a change</summary>"
        parts.append(f"<details>{summary}\n\n{_markdown_table(rest)}\n\n</details>")
    parts.append(f"Reproduce with `{reproduce}`.")
    return "\n\n".join(parts) + "\n"


def document(joint: Outcome, verdicts: Sequence[SeriesVerdict], **about: Any) -> dict[str, Any]:
    """Return a JSON document; figures that are not known are null."""
    return about | {
        "verdict": joint,
        "series": [
            {
                "host": one.host,
                "device": one.device,
                "cell": one.cell.model_dump(mode="json"),
                "metric": one.metric,
                "verdict": one.verdict.outcome,
                "effect": _known(one.verdict.effect),
                "low": _known(one.verdict.low),
                "high": _known(one.verdict.high),
                "pairs_used": one.verdict.pairs,
                "p": _known(one.verdict.p),
                "deviation": _known(one.deviation),
                "replaced": one.replaced,
                "note": one.note,
            }
            for one in verdicts
        ],
    }


def row(one: SeriesVerdict) -> list[str]:
    verdict = one.verdict
    shares = [percent(share) for share in (verdict.effect, verdict.low, verdict.high)]
    deviation = f"{100 * one.deviation:.1f} %" if math.isfinite(one.deviation) else "-"
    return [
        one.host,
        one.cell.label,
        one.metric or "-",
        verdict.outcome,
        *shares,
        str(verdict.pairs),
        deviation,
    ]


def line(one: SeriesVerdict) -> str:
    """Say in one line what a series came to."""
    verdict = one.verdict
    named = f"{one.host}: {one.cell.label}: {one.metric}".rstrip(": ")
    if not verdict.pairs:
        return f"{named}: {verdict.outcome}" + (f": {one.note}" if one.note else "")
    effect, low, high = map(percent, (verdict.effect, verdict.low, verdict.high))
    after = counted(verdict.pairs, "pair")
    return f"{named}: {verdict.outcome}, {effect} ({low} to {high}) after {after}"


def pair_line(number: int, baseline: Record, candidate: Record) -> str:
    """Say in one line what a pair shows: the change of its first metric, or why it does not count.

    ``number`` counts the pairs of a cell from 1.
    """
    named = f"{record_name(baseline)}: pair {number}"
    records = (baseline, candidate)
    if failed := next((one.failure for one in records if one.failure), None):
        return f"{named} failed: {textwrap.shorten(failed.message, WORDS, placeholder=' ...')}"
    if spoiled := next((one for one in records if one.spoiled), None):
        return f"{named}: {not_counting(spoiled)}"
    metric = next(one.metric for one in candidate.samples if one.metric in METRICS)
    before, after = (
        typical(metric, [one.value for one in record.samples if one.metric == metric])
        for record in records
    )
    return f"{named}: {metric} {_change(before, after)}"


def _change(before: float, after: float) -> str:
    return percent(after / before - 1) if before else f"{after:g} after 0"


def _markdown_table(verdicts: Sequence[SeriesVerdict]) -> str:
    lines = [HEADER, tuple("-" * len(HEADER)), *(row(one) for one in verdicts)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _known(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None

"""What a doctor found, for a person: a table, what to do, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten

from farm.report.table import aligned

#: What a state is called, by the value of ``Finding.state``.
STATES = {
    "well": "well",
    "doubtful": "would not count",
    "wrong": "NOT WELL",
    "skipped": "not done",
}
Row = tuple[str, str, str, str]
MOST_CAUSES = 2
SHOWN = 100  # characters of a reason


def table(findings: Sequence[Row]) -> str:
    """Return a line for each finding: its name, its state, what it says."""
    rows = [[name, STATES[state], said] for name, state, said, _ in findings]
    return aligned(["check", "state", "what it says"], rows)


def remedies(findings: Sequence[Row], problems: Sequence[tuple[str, str]]) -> str:
    """Return a table of what is not well and what to do; empty if everything is."""
    wanted: dict[str, list[str]] = {}
    for problem, remedy in problems:
        wanted.setdefault(remedy, []).append(problem)
    for name, state, _, remedy in findings:
        if state != "well" and remedy:
            wanted.setdefault(remedy, []).append(name)
    rows = [[_some(causes), remedy] for remedy, causes in wanted.items()]
    return aligned(["not well", "what to do"], rows) if rows else ""


def unknown(reasons: Mapping[str, str]) -> str:
    """Return a table of what a host does not tell and why, by fact; empty if it tells all."""
    facts: dict[str, list[str]] = {}
    for fact, reason in reasons.items():
        facts.setdefault(shorten(reason, SHOWN, placeholder="..."), []).append(fact)
    rows = [[_some(names), reason] for reason, names in facts.items()]
    if not rows:
        return ""
    return f"{aligned(['not known', 'why'], rows)}\nFigures count without these facts."


def _some(causes: Sequence[str]) -> str:
    more = len(causes) - MOST_CAUSES
    return ", ".join(causes[:MOST_CAUSES]) + (f" and {more} more" if more > 0 else "")


def sentence(device: str, findings: Sequence[Row]) -> str:
    """Say in one sentence whether figures of this host can be believed."""
    states = [state for _, state, _, _ in findings]
    if wrong := [name for name, state, _, _ in findings if state == "wrong"]:
        return f"{device} is not well: {', '.join(wrong)}."
    if doubtful := states.count("doubtful"):
        return (
            f"{device} computes what it must, but its figures would not count now: "
            f"{doubtful} of {len(findings)} checks say so."
        )
    return f"{device} is well: it computes what it must, and its figures count."

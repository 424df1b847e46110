"""Which figures may be ranked together: those measured under the same conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]

# What makes a device itself differs between devices, and is what a comparison of devices is about.
OWN = frozenset({"device"})


@dataclass(frozen=True)
class Group:
    """Conditions and the comparison keys that share them."""

    facts: Facts
    keys: frozenset[str]


def groups(conditions: Mapping[str, Facts], keys: Iterable[str]) -> list[Group]:
    """Put the keys whose conditions differ in nothing but the device together, largest first."""
    found: dict[frozenset[tuple[str, str]], set[str]] = {}
    facts: dict[frozenset[tuple[str, str]], Facts] = {}
    for key in sorted(set(keys)):
        shared = {k: v for k, v in conditions.get(key, {"key": key}).items() if k not in OWN}
        name = frozenset((fact, str(value)) for fact, value in shared.items())
        found.setdefault(name, set()).add(key)
        facts[name] = shared
    ordered = sorted(found, key=lambda name: (-len(found[name]), sorted(name)))
    return [Group(facts[name], frozenset(found[name])) for name in ordered]


def differences(base: Facts, other: Facts) -> list[str]:
    """Say in which facts two conditions differ: ``mlx 0.31.1 instead of 0.32.4``."""
    return [
        f"{name} {other.get(name, 'unknown')} instead of {base.get(name, 'unknown')}"
        for name in sorted(base.keys() | other.keys())
        if base.get(name, "unknown") != other.get(name, "unknown")
    ]


def refusal(found: Sequence[Group]) -> str | None:
    """Say why figures of several groups are not ranked together, None if there is one group."""
    if len(found) < 2:  # noqa: PLR2004  one group is comparable
        return None
    reasons = "; ".join(", ".join(differences(found[0].facts, other.facts)) for other in found[1:])
    return f"Not ranked together, because the conditions differ: {reasons}."

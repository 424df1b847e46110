"""The settings of the turbo cache that are worth a look, from the widest to the narrowest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker import registry
from worker.job import Cache, Cell, Params

#: Bits of keys and values. Each rung is narrower in one side than the one before and wider in none,
#: so its divergence is larger; keys stay ahead, for the same bits are worth more there.
RUNGS = ((8, 8), (8, 6), (8, 4), (6, 4), (4, 4), (4, 3), (3, 3), (3, 2), (2, 2))
#: What a heavy layer gets among narrower ones.
HEAVY = (8, 4)
KIND = "turbo"
#: One trial a process: rounds give the others.
SHORT: dict[str, dict[str, Any]] = {
    "decode": {"tokens": 64, "trials": 1},
    "prefill": {"trials": 1},
}


@dataclass(frozen=True)
class Setting:
    """Bits of keys and values, and layers that take `HEAVY` in their place."""

    bits: tuple[int, int]
    heavy: tuple[int, ...] = ()

    @property
    def cache(self) -> Cache:
        keys, values = self.bits
        params: Params = {"key_bits": keys, "value_bits": values}
        if self.heavy:
            params["layer_bits"] = [[layer, *HEAVY] for layer in self.heavy]
        return Cache(name=KIND, params=params)

    def width(self, layers: int = 1) -> float:
        """Return the bits that a number takes in a model of so many layers, scales included."""
        share = len(self.heavy) / layers
        return share * _width(HEAVY) + (1 - share) * _width(self.bits)


def ladder() -> tuple[Setting, ...]:
    return tuple(map(Setting, RUNGS))


def gains_by_heavy(setting: Setting) -> bool:
    """Tell whether `HEAVY` is wider than a setting in some side, and narrower in none."""
    pairs = list(zip(HEAVY, setting.bits, strict=True))
    return all(heavy >= own for heavy, own in pairs) and setting.bits != HEAVY


def cell(benchmark: str, model: str, cache: Cache, context: int, text: str) -> Cell:
    """Return a cell; speed and memory as suite ``default`` has them, so as not to measure again."""
    defaults = registry.entries("benchmarks")[benchmark].defaults
    given = {"context": context, "text": text} | SHORT.get(benchmark, {})
    return Cell(
        benchmark=benchmark,
        model=model,
        cache=cache,
        params=defaults | {name: value for name, value in given.items() if name in defaults},
    )


def _width(bits: tuple[int, int]) -> float:
    extra = registry.entries("caches")[KIND].widths
    return sum(side + more for side, more in zip(bits, extra.values(), strict=True)) / 2

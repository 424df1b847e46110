"""What a choice of a cache found: the settings tried, the choice, and the lines that use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from farm.judge.choice import Tried
from farm.report.figures import Figure
from farm.report.run import number
from farm.report.table import aligned
from worker.choice import Divergence
from worker.job import BASELINE, Cache
from worker.metrics import METRICS
from worker.models import PACKAGED, REFERENCE

_NAMES = {"kv_bytes": "KV", "generation_tps": "decode", "prompt_tps": "prompt"}


@dataclass(frozen=True)
class Choice:
    """The answer: ``figures`` are those of the chosen cache and of fp16.

    ``on`` has the chosen cache's divergence by text, of all that the choice was made on;
    ``elsewhere`` that on texts which it is checked on afterwards.
    """

    model: str
    context: int
    host: str
    budget: float
    tried: Sequence[Tried]
    chosen: Tried
    figures: Sequence[Figure]
    on: Mapping[str, Divergence]
    elsewhere: Mapping[str, Divergence]
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is within the budget on every text that it was checked on, too."""
        return all(kl.within(self.budget) for kl in self.elsewhere.values())


def text(choice: Choice) -> str:
    """Return the answer for people."""
    asked = f"KL divergence from fp16 KV at most {choice.budget:g}"
    parts = [
        f"{choice.model} on {choice.host}, {choice.context} tokens: {asked}",
        table(choice.tried, choice.budget),
        "\n".join(_answer(choice)),
        "\n".join(["use it:", *(f"  {line}" for line in usage(choice.model, choice.chosen.cache))]),
    ]
    return "\n\n".join(parts)


def table(tried: Sequence[Tried], budget: float) -> str:
    """Return a row for each setting that was tried, the widest first."""
    return aligned(
        ["cache", "bits", "KL", "95 % bounds", "within"],
        [
            [
                one.cache.label,
                f"{one.width:.2f}",
                f"{one.divergence.mean:.2g}",
                bounds(one.divergence),
                "yes" if one.divergence.within(budget) else "no",
            ]
            for one in sorted(tried, key=lambda one: -one.width)
        ],
    )


def bounds(kl: Divergence) -> str:
    return f"{kl.low:.2g} to {kl.high:.2g}"


def document(choice: Choice) -> dict[str, Any]:
    """Return the answer for programs."""
    return {
        "model": choice.model,
        "context": choice.context,
        "host": choice.host,
        "max_kl": choice.budget,
        "tried": [_tried(one) for one in choice.tried],
        "chosen": _tried(choice.chosen),
        "figures": [
            {"metric": one.metric, "cache": one.cache, "value": one.value, "counts": one.counts}
            | {"of_fp16": asdict(one.ratio) if one.ratio else None}
            for one in choice.figures
        ],
        "texts": {name: asdict(kl) for name, kl in choice.on.items()},
        "checked": {name: asdict(kl) for name, kl in choice.elsewhere.items()},
        "holds": choice.holds,
        "note": choice.note,
        "use": usage(choice.model, choice.chosen.cache),
    }


def usage(model: str, cache: Cache) -> list[str]:
    """Return the lines that use a cache: of Python, and of turbo-kv where it can load the model."""
    own: Any = cache.params.get("layer_bits", [])
    named = {name: value for name, value in cache.params.items() if name != "layer_bits"}
    words = [f"{name}={value}" for name, value in named.items()]
    words += [f"layer_bits={[tuple(one) for one in own]}"] if own else []
    lines = [f"cache = turbo_kv.make_cache(model, {', '.join(words)})"]
    if model.startswith(PACKAGED) or model.endswith(".gguf"):
        return lines
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in named.items()]
    flags += [f"--layer-bits {','.join(map(str, one))}" for one in own]
    folder = str(REFERENCE) if model == "reference" else model
    return [*lines, f"turbo-kv server --model {shlex.quote(folder)} {' '.join(flags)}"]


def _answer(choice: Choice) -> list[str]:
    best_kl = choice.chosen.divergence
    best = f"{choice.chosen.cache.label}: the smallest cache within the budget"
    lines = [f"{best}, KL {best_kl.mean:.2g} ({bounds(best_kl)})"]
    lines += [f"  on {name}: KL {kl.mean:.2g} ({bounds(kl)})" for name, kl in choice.on.items()]
    lines += [
        f"  {_beside(one)}" for one in choice.figures if one.cell.cache == choice.chosen.cache
    ]
    for name, other in choice.elsewhere.items():
        held = "within the budget too" if other.within(choice.budget) else "NOT within the budget"
        lines.append(f"  checked on {name}: KL {other.mean:.2g} ({bounds(other)}), {held}")
    return [*lines, *([f"  {choice.note}"] if choice.note else [])]


def _beside(figure: Figure) -> str:
    mark = "" if figure.counts_with_ratio else ", does not count"
    unit = METRICS[figure.metric].unit
    said = f"{_NAMES[figure.metric]} {number(figure.value, unit)}"
    said += "" if unit == "bytes" else f" {unit}"
    if figure.ratio is None:
        return f"{said}{mark}"
    several = f" ({figure.ratio.low:.2f} to {figure.ratio.high:.2f})" if figure.ratio.pairs else ""
    return f"{said}, {figure.ratio.value:.2f} of {BASELINE}{several}{mark}"


def _tried(one: Tried) -> dict[str, Any]:
    return {
        "cache": one.cache.model_dump(mode="json"),
        "bits": one.width,
        "kl_divergence": asdict(one.divergence),
    }

"""Keys and values that are not finite are refused for all layers of a model together.

A layer cannot wait for its numbers, or a prompt would stop once a layer. So what each layer packs
is noted with what it was before. All of it is looked at once, when the first layer is touched again
or its state is read, and if any of it is bad every layer is brought back.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import ref

import mlx.core as mx


class NotFiniteError(ValueError):
    """Keys or values hold NaN, infinity or a norm beyond fp16; nothing of them was stored."""


class Layer(Protocol):
    """What takes part in a pass: the store of one layer."""

    noted: Pass | None

    def go_back(self, before: Any) -> None: ...


@dataclass(eq=False)
class Pass:
    """What the layers of a model packed in one step, not looked at yet.

    Attributes
    ----------
    step
        Lengths before and after, and what stays raw: layers of one step have the same.
    """

    step: tuple[int, int, int]
    finite: list[mx.array] = field(default_factory=list)
    layers: list[tuple[ref[Layer], Any]] = field(default_factory=list)
    launched: bool = False

    def settle(self) -> None:
        """Wait for the numbers.

        Raises
        ------
        NotFiniteError
            If there are bad ones; every layer is then as it was before the step.
        """
        fine = bool(mx.all(mx.stack(self.finite)).item())
        for layer, before in self.layers:
            held = layer()
            if held is not None and held.noted is self:
                held.noted = None
                if not fine:
                    held.go_back(before)
        self.layers.clear()
        if not fine:
            raise NotFiniteError("keys or values hold NaN, infinity or a norm beyond fp16")

    def launch(self) -> None:
        """Let the device begin."""
        mx.async_eval(self.finite)  # type: ignore[no-untyped-call]
        self.launched = True


_thread = threading.local()


def note(layer: Layer, step: tuple[int, int, int], finite: mx.array, before: Any) -> None:
    """Note that a layer took a step, whether its numbers are finite, and what it was before."""
    newest: ref[Pass] | None = getattr(_thread, "newest", None)
    current = None if newest is None else newest()
    if current is None or current.step != step or not _awaits(current, layer):
        current = Pass(step)
        _thread.newest = ref(current)  # the layers keep it alive
    current.finite.append(finite)
    current.layers.append((ref(layer), before))
    layer.noted = current


def _awaits(current: Pass, layer: Layer) -> bool:
    """Tell whether a layer may be the next of a pass: none is gone or settled, and it is not in."""
    layers = [held() for held, _ in current.layers]
    return bool(layers) and layer not in layers and all(x is not None for x in layers)

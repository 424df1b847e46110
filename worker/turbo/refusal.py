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
    finite
        Arrays of any shape, of which no element may be 0.
    verdict
        Whether it is all fine, once the device is to find out.
    """

    step: tuple[int, int, int]
    finite: list[mx.array] = field(default_factory=list)
    layers: list[tuple[ref[Layer], Any]] = field(default_factory=list)
    verdict: mx.array | None = None

    def settle(self) -> None:
        """Wait for the numbers.

        Raises
        ------
        NotFiniteError
            If there are bad ones; every layer is then as it was before the step.
        """
        fine = bool((self._found() if self.verdict is None else self.verdict).item())
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
        """Let the device find out, after what it was given so far."""
        self.verdict = self._found()
        mx.async_eval(self.verdict)  # type: ignore[no-untyped-call]

    def _found(self) -> mx.array:
        found = [mx.all(x) for x in self.finite]
        return found[0] if len(found) == 1 else mx.all(mx.stack(found))


_thread = threading.local()


def earlier(layer: Layer, step: tuple[int, int, int]) -> mx.array | None:
    """Return what the layer before this one noted of the step, if it is of the same pass."""
    current = _joined(layer, step)
    return None if current is None else current.finite[-1]


def note(
    layer: Layer,
    step: tuple[int, int, int],
    finite: mx.array,
    before: Any,
    covers: mx.array | None = None,
) -> None:
    """Note that a layer took a step, whether its numbers are finite, and what it was before.

    ``covers`` was noted before and is contained in ``finite``.
    """
    current = _joined(layer, step)
    if current is None:
        current = Pass(step)
        _thread.newest = ref(current)  # the layers keep it alive
    current.finite = [*(x for x in current.finite if x is not covers), finite]
    current.layers.append((ref(layer), before))
    layer.noted = current


def _joined(layer: Layer, step: tuple[int, int, int]) -> Pass | None:
    """Return the pass that a layer's step belongs to, if one is under way.

    None of its layers is gone or settled, and this one is not in it.
    """
    newest: ref[Pass] | None = getattr(_thread, "newest", None)
    current = None if newest is None else newest()
    if current is None or current.step != step:
        return None
    layers = [held() for held, _ in current.layers]
    fits = bool(layers) and layer not in layers and all(x is not None for x in layers)
    return current if fits else None

"""Answers that sessions share: each made once, and kept until what it is made of changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class _Kept:
    """The last answer to one question, and the version of what it is made of."""

    version: Hashable = None
    answer: Any = None
    made: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Answers:
    """The newest answer to each of up to ``most`` questions, those asked last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: Hashable, version: Hashable, make: Callable[[], T]) -> T:
        """Return the answer at a version; whoever asks while it is being made waits for it."""
        kept = self._of(question)
        with kept.lock:
            if not kept.made or kept.version != version:
                kept.answer, kept.version, kept.made = make(), version, True
            answer: T = kept.answer
            return answer

    def _of(self, question: Hashable) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(question, _Kept())
            self._kept.move_to_end(question)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return kept

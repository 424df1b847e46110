"""What a model answers with fp16 KV: computed once for a text, then kept on this machine.

Whoever looks for a cache compares many with the same answers, each in a fresh process. Kept answers
are found by the text and by the model's own answer to its beginning, to the last bit: other
weights, another version of MLX, another device or library of matrix products are another key.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlx.core as mx
import numpy as np

from worker.caches import fp16
from worker.generation import PREFILL_STEP, Caches, read
from worker.models import packaged

#: Bytes of all answers that are kept; the longest unused go first.
MOST = 1 << 30
_PROBE = 16  # tokens
_log = logging.getLogger(__name__)


def answers(model: Any, tokens: list[int], context: int, step: int) -> tuple[mx.array, bool]:
    """Return the logits after a context, (positions, vocabulary), and whether they were kept.

    The tokens after the context are read by ``step``.
    """
    file = packaged.folder() / "exact" / f"{_key(model, tokens, context, step)}.safetensors"
    kept = _opened(file)
    if kept is not None:
        return kept, True
    found = mx.concatenate([*by_steps(model, tokens, context, step, fp16.make_cache(model))])
    try:
        _keep(file, found)
    except OSError as error:
        _log.warning("%s: exact answers are not kept: %s", file.parent, error)
    return found, False


def by_steps(
    model: Any, tokens: list[int], context: int, step: int, cache: Caches
) -> Iterator[mx.array]:
    """Read a context into a cache, then yield the logits of each ``step`` further tokens."""
    for start, end in pairwise([*range(0, context, PREFILL_STEP), context]):
        read(model, tokens[start:end], cache)  # whose logits nobody asks for are never computed
        mx.clear_cache()
    for start, end in pairwise([*range(context, len(tokens), step), len(tokens)]):
        logits = read(model, tokens[start:end], cache)
        mx.eval(logits)
        yield logits


def _key(model: Any, tokens: list[int], context: int, step: int) -> str:
    probe = read(model, tokens[:_PROBE], fp16.make_cache(model)).astype(mx.float32)
    asked = (version("mlx"), version("mlx-lm"), tokens, context, step, PREFILL_STEP)
    return hashlib.sha256(repr(asked).encode() + np.asarray(probe).tobytes()).hexdigest()


def _opened(file: Path) -> mx.array | None:
    try:
        loaded = mx.load(str(file))
        assert isinstance(loaded, dict)  # noqa: S101  by the file's name
        found = loaded["logits"]
        mx.eval(found)
        os.utime(file)
    except (OSError, RuntimeError, ValueError, LookupError):  # none, or a damaged one
        return None
    return found


def _keep(file: Path, found: mx.array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{uuid4().hex}.partial")
    try:
        with beside.open("wb") as written:
            mx.save_safetensors(written, {"logits": found})
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    _clear(file.parent)


def _clear(folder: Path) -> None:
    """Delete the longest unused answers until the rest has at most `MOST` bytes."""
    total = 0
    files = [(file.stat(), file) for file in folder.iterdir()]
    for stat, file in sorted(files, key=lambda one: -one[0].st_mtime_ns):
        total += stat.st_size
        if total > MOST:
            file.unlink(missing_ok=True)

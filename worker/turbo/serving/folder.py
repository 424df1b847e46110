"""States of prompts as files in a folder, which several servers may share.

A file is one of mlx-lm's prompt cache files; its name says for which model and settings it is (the
key), of which tokens, and the checksum of its bytes: a file is written beside and renamed, so it is
there whole or not at all, and one whose bytes are not what its name says is skipped.

Who makes room or renames holds the folder meanwhile, so servers keep to the limit together. What is
still written counts with the size in its name, and is held by its writer: one that nobody holds was
left by a server that was killed.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.cache import can_trim_prompt_cache, load_prompt_cache, save_prompt_cache

_NAME = re.compile(r"turbo-kv-(?P<key>[0-9a-f]{16})-[0-9a-f]{16}-(?P<crc>[0-9a-f]{8})\.safetensors")
_PARTIAL = "turbo-kv-partial-"
_RESERVED = re.compile(rf"{_PARTIAL}(?P<size>[0-9]+)-[0-9a-f]{{32}}")
_BLOCK = 1 << 22
_log = logging.getLogger(__name__)

#: Ids, and negative numbers where mlx-lm has an image.
Tokens = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Saved:
    """A state that was saved: its tokens, and whether some of them can be taken away again."""

    path: Path
    tokens: Tokens
    trimmable: bool

    def serves(self, tokens: Tokens) -> int:
        """Count the first tokens of a prompt that this state can stand for."""
        both = min(len(self.tokens), len(tokens))
        differ = np.flatnonzero(self.tokens[:both] != tokens[:both])
        common = int(differ[0]) if len(differ) else both
        return common if self.trimmable or common == len(self.tokens) else 0


class Folder:
    """States of prompts on disk, at most ``limit`` bytes of them; the longest unused go first.

    What is wrong with the folder or a file of it costs no request: it is logged.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """Raise OSError where no file can be written."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial = path / f"{_PARTIAL}{uuid4().hex}"
        trial.touch(mode=0o600)
        trial.unlink(missing_ok=True)  # another server may have cleared it away
        self._path = path
        self._limit = limit
        self._known: dict[str, Saved | None] = {}

    def find(self, key: str, tokens: list[int]) -> Saved | None:
        """Return the state of this key that serves most of a prompt's tokens."""
        asked = np.asarray(tokens, np.int64)
        served = [(state.serves(asked), state) for state in self._states(key)]
        count, best = max(served, key=lambda one: one[0], default=(0, None))
        return best if count else None

    def load(self, state: Saved) -> list[Any] | None:
        """Return a prompt cache, or None if its file is gone or damaged."""
        try:
            cache = _opened(state.path)
            os.utime(state.path)
        except FileNotFoundError:  # another server made room
            self._known.pop(state.path.name, None)
            return None
        except Exception:  # noqa: BLE001  whatever is in a file that others can write
            self._skip(state.path.name, "damaged")
            return None
        return cache

    def save(self, key: str, tokens: list[int], cache: list[Any]) -> None:
        """Write a state, and take away those that it makes superfluous."""
        size = sum(layer.nbytes for layer in cache)
        held, trimmable = np.asarray(tokens, np.int64), can_trim_prompt_cache(cache)
        try:
            with self._partial(size) as (path, file):
                state = Saved(path, held, trimmable)
                _write(file, state, cache)
                name = f"turbo-kv-{key}-{_digest(held)}-{_checksum(path):08x}.safetensors"
                with self._alone():
                    self._put(key, name, state)
        except (OSError, ValueError) as error:
            _log.warning("turbo-kv: a state was not saved: %s", error)

    def saved_length(self, key: str, tokens: list[int]) -> int:
        """Count the first tokens of a prompt whose state is saved, whole."""
        asked = np.asarray(tokens, np.int64)
        found = (state for state in self._states(key) if state.serves(asked) == len(state.tokens))
        return max((len(state.tokens) for state in found), default=0)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder, for as long as it takes to look and to rename."""
        held = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)

    @contextmanager
    def _partial(self, size: int) -> Iterator[tuple[Path, IO[bytes]]]:
        """Give a file for so many bytes, which is held until it is renamed or deleted."""
        with self._alone():
            self._make_room(size)
            path = self._path / f"{_PARTIAL}{size}-{uuid4().hex}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "wb") as file:
            try:
                yield path, file
            finally:
                path.unlink(missing_ok=True)

    def _put(self, key: str, name: str, written: Saved) -> None:
        self._make_room(0)  # it may have become larger than foreseen
        written.path.replace(self._path / name)
        state = Saved(self._path / name, written.tokens, written.trimmable)
        for other in list(self._states(key)):
            covered = other.serves(state.tokens) == len(other.tokens)
            if covered and other.path != state.path and state.trimmable:
                other.path.unlink(missing_ok=True)

    def _states(self, key: str) -> Iterator[Saved]:
        entries = self._entries()
        self._forget_all_but({entry.name for entry in entries})
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is None:
                self._tell_foreign(entry.name)
            elif match["key"] == key and (state := self._state(Path(entry.path))):
                yield state

    def _state(self, path: Path) -> Saved | None:
        if path.name not in self._known:
            try:
                self._known[path.name] = _read(path)
            except FileNotFoundError:
                return None
            except (OSError, ValueError, LookupError, TypeError):
                self._skip(path.name, "damaged")
        return self._known[path.name]

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._path) as found:
                return [entry for entry in found if entry.is_file(follow_symlinks=False)]
        except OSError as error:
            _log.warning("turbo-kv: the disk cache cannot be read: %s", error)
            return []

    def _forget_all_but(self, names: set[str]) -> None:
        self._known = {name: found for name, found in self._known.items() if name in names}

    def _tell_foreign(self, name: str) -> None:
        if not name.startswith(_PARTIAL) and name not in self._known:
            self._skip(name, "foreign")

    def _skip(self, name: str, word: str) -> None:
        _log.warning("turbo-kv: %s in the disk cache skipped: %s", name, word)
        self._known[name] = None

    def _make_room(self, size: int) -> None:
        """Delete the longest unused files of ours, so that so many bytes more are in the limit.

        Raises ValueError where that cannot be, with what is being written.
        """
        whole, written = [], size
        for entry in self._entries():
            try:
                if _NAME.fullmatch(entry.name):
                    whole.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
                elif entry.name.startswith(_PARTIAL):
                    written += _still_written(Path(entry.path))
            except FileNotFoundError:
                continue
        if written > self._limit:
            raise ValueError(f"{written} bytes, with what is being written, are too large")
        total = written + sum(bytes_ for _, bytes_, _ in whole)
        for _, bytes_, path in sorted(whole):
            if total <= self._limit:
                return
            Path(path).unlink(missing_ok=True)
            total -= bytes_


def _still_written(path: Path) -> int:
    """Return the bytes that a partial file counts with; 0 for one that was left, and is deleted."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reserved = _RESERVED.fullmatch(path.name)
            return max(path.stat().st_size, int(reserved["size"]) if reserved else 0)
    path.unlink(missing_ok=True)
    return 0


def _write(file: IO[bytes], state: Saved, cache: list[Any]) -> None:
    """By a file of Python's: MLX's own writer does not tell a full disk from other faults."""
    metadata = {
        "tokens": base64.b64encode(state.tokens.astype("<i8").tobytes()).decode(),
        "trimmable": json.dumps(state.trimmable),
    }
    save_prompt_cache(file, cache, metadata)
    file.flush()


def _read(path: Path) -> Saved:
    """Read the head of a file: 8 bytes of its length, then JSON (the safetensors format)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("shorter than its head")
        metadata = json.loads(file.read(length))["__metadata__"]
    tokens = np.frombuffer(base64.b64decode(metadata["0.tokens"]), "<i8").astype(np.int64)
    return Saved(path, tokens, json.loads(metadata["0.trimmable"]) is True)


def _digest(tokens: Tokens) -> str:
    return hashlib.sha256(tokens.tobytes()).hexdigest()[:16]


def _checksum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total = zlib.crc32(block, total)
    return total


def _opened(path: Path) -> list[Any]:
    match = _NAME.fullmatch(path.name)
    if match is None or _checksum(path) != int(match["crc"], 16):
        raise ValueError("other bytes than its name says")
    cache: list[Any] = load_prompt_cache(str(path))
    leaves = tree_flatten([layer.state for layer in cache])
    mx.eval([leaf for _, leaf in leaves if isinstance(leaf, mx.array)])  # MLX reads no sooner
    return cache

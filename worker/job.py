"""What travels to a host: one job, one cell measured once on one build."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator

Params = dict[str, JsonValue]

#: The cache that all others are compared with.
BASELINE = "fp16"


class Wire(BaseModel):
    """The base of everything that crosses the wire: immutable, and no key passes unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Cache(Wire):
    """A cache configuration: a file of ``worker/caches`` and its parameters."""

    name: str
    params: Params = {}

    @property
    def label(self) -> str:
        """The short form for people, e.g. ``turbo(key_bits=8, value_bits=4)``."""
        inside = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.name}({inside})" if inside else self.name


class Cell(Wire):
    """What is measured: the same cell on the same device over builds is a series.

    ``model`` is a hub id, a local directory or GGUF, ``reference``, ``pypi:NAME==VERSION`` for
    one of a package, or ``random:DIRECTORY`` for the architecture of a config.json; benchmarks of
    the bare machine have neither model nor cache.
    """

    benchmark: str
    model: str | None = None
    cache: Cache | None = None
    params: Params = {}

    @property
    def id(self) -> str:
        return content_hash(self.model_dump(mode="json"))

    @property
    def label(self) -> str:
        """The short form for people, e.g. ``decode@4096 turbo(key_bits=8, value_bits=4)``."""
        context = f"@{self.params['context']}" if "context" in self.params else ""
        cache = f" {self.cache.label}" if self.cache else ""
        return f"{self.benchmark}{context}{cache}"

    @property
    def is_baseline(self) -> bool:
        """Whether other caches are compared with this one: plain fp16."""
        return self.cache is not None and self.cache.label == BASELINE

    @property
    def comparison(self) -> str:
        """What cells have in common that are compared: all but the cache."""
        return content_hash(self.model_dump(mode="json", exclude={"cache"}))


class Build(Wire):
    """The subject at one commit or the dirty tree.

    ``hash`` names the content of the package; ``commit`` is None for files outside git.
    """

    hash: str
    commit: str | None = None
    dirty: bool = False


class Job(Wire):
    """One cell for one host and one build; ``id`` is derived from the content.

    ``host`` is a host of the inventory, or a device class of which any host will do. ``run`` names
    the run that asked, ``repetition`` tells fresh processes of one cell apart,
    ``deadline`` is in seconds of wall time for the whole process.
    """

    version: Literal[1] = 1
    run: str
    host: str
    build: Build
    cell: Cell
    repetition: int = 0
    deadline: float = 600.0

    @property
    def id(self) -> str:
        return content_hash(self.model_dump(mode="json", exclude={"deadline"}))


class Order(Wire):
    """All that a record says of what was asked: the job, which attempt at it, and the host.

    ``attempt`` is counted from 1; ``host`` is the host of the inventory that does the job, where
    the job asks for a device class. A bare job is an order for a first attempt.
    """

    job: Job
    attempt: int = 1
    host: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_bare_job(cls, value: Any) -> Any:
        return {"job": value} if isinstance(value, dict) and "cell" in value else value


def content_hash(document: JsonValue) -> str:
    """Name a JSON document by its content: 16 hexadecimal digits of SHA-256."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

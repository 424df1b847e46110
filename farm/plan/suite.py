"""Suites: named lists of cells, as YAML files of this folder or a user's own by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    TypeAdapter,
    ValidationError,
)

from farm.errors import ConfigurationError, FarmError, Problem
from farm.plan import yaml_file
from worker import registry
from worker.job import Cache, Cell
from worker.models import ModelError, is_gguf, locate

FOLDER = Path(__file__).parents[1] / "suites"

# What a parameter may be, by the type of its default: for pydantic, and for people.
KINDS: dict[type, tuple[TypeAdapter[Any], str]] = {
    bool: (TypeAdapter(bool), "true or false"),
    int: (TypeAdapter(NonNegativeInt), "whole number from 0 on"),
    float: (TypeAdapter(float), "number"),
    str: (TypeAdapter(str), "text"),
    list: (TypeAdapter(list), "list"),
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CacheEntry(BaseModel):
    """A kind of cache; every further key is one of its parameters."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str


class CellsEntry(_Strict):
    """One benchmark over some caches and contexts; ``caches`` are names of the suite's own."""

    benchmark: str
    models: tuple[str, ...] | None = None
    caches: tuple[str, ...] = ()
    contexts: tuple[Annotated[int, Field(ge=2)], ...] = ()
    params: dict[str, JsonValue] = {}


class Injection(_Strict):
    """How a gate that tests itself slows the candidate: as shares of a decode step.

    ``noise``, a standard deviation between processes, and ``drift``, a share an hour, slow both
    arms.
    """

    share: float = Field(default=0.0, ge=0)
    noise: float = Field(default=0.0, ge=0)
    drift: float = Field(default=0.0, ge=0)


class Suite(_Strict):
    """What a suite file holds; ``deadline`` is in seconds for each job.

    Speeds of several caches are measured side by side in ``rounds`` rounds. With an ``injection`` a
    gate compares a build with itself; ``pairs`` are then the least that it measures.
    """

    description: str
    models: tuple[str, ...] = ()
    deadline: float = Field(default=600.0, gt=0)
    caches: dict[str, CacheEntry] = {}
    injection: Injection | None = None
    pairs: int = Field(default=0, ge=0)
    rounds: int = Field(default=3, ge=1)
    cells: tuple[CellsEntry, ...]


def names() -> list[str]:
    """Return the suites that come with the farm."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Suite:
    """Read a suite by its name or path and check it against what the worker has.

    Raises FarmError for an unknown name, ConfigurationError with every problem of the file.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if path.parent == FOLDER and not path.exists():
        raise FarmError(f"suite {name!r}: unknown; {yaml_file.suggest(name, names())}")
    suite = yaml_file.read(path, Suite)
    problems = list(dict.fromkeys(_problems(path, suite)))
    if problems:
        raise ConfigurationError(problems)
    return suite


def cells(suite: Suite) -> list[Cell]:
    """Return every cell of a suite, in the order of the file; defaults are filled in."""
    return [cell for entry in suite.cells for cell in _expand(suite, entry)]


def adapted(cells: list[Cell], models: Sequence[str], params: dict[str, JsonValue]) -> list[Cell]:
    """Return cells with other models and other parameters, where their benchmark has them.

    A GGUF takes the place of what llama.cpp runs, if a cell has that; any other model, and a GGUF
    file in a suite for MLX alone, that of MLX's. Of each kind the last counts. Cells that are the
    same then are kept once. Raises FarmError for a parameter that no cell has or that is of another
    kind there, for a model that no cell runs and for a model folder without a model.
    """
    if unused := [name for name in params if not any(name in cell.params for cell in cells)]:
        known = sorted({name for cell in cells for name in cell.params})
        raise FarmError(f"--set {unused[0]}: {yaml_file.suggest(unused[0], known)}")
    for name, value in params.items():
        default = next(cell.params[name] for cell in cells if name in cell.params)
        if wrong := _misfit(value, default):
            raise FarmError(f"--set {name}: {wrong}; the suite has {default}")
    instead = {_checked_model(model, cells): model for model in models}
    changed = [
        cell.model_copy(
            update={
                "model": cell.model and instead.get(_benchmark(cell).gguf, cell.model),
                "params": {name: params.get(name, value) for name, value in cell.params.items()},
            }
        )
        for cell in cells
    ]
    return list({cell.id: cell for cell in changed}.values())


def _benchmark(cell: Cell) -> registry.Entry:
    return registry.entries("benchmarks")[cell.benchmark]


def _checked_model(model: str, cells: list[Cell]) -> bool:
    """Tell whether it takes the place of llama.cpp's models."""
    try:
        locate(model)
    except ModelError as error:
        raise FarmError(f"--model: {error}") from error
    takers = {
        _benchmark(cell).gguf for cell in cells if cell.model and _benchmark(cell).takes(model)
    }
    if not takers:
        kind = "a GGUF" if is_gguf(model) else "a model of MLX"
        raise FarmError(f"--model {model}: no cell of this suite runs {kind}; take another suite")
    return True in takers


def _expand(suite: Suite, entry: CellsEntry) -> Iterator[Cell]:
    described = registry.entries("benchmarks")[entry.benchmark]
    params: dict[str, Any] = described.defaults | entry.params
    if described.model_free:
        yield Cell(benchmark=entry.benchmark, params=params)
        return
    contexts = [{"context": context} for context in entry.contexts] or [{}]
    for model in entry.models or suite.models:
        for context in contexts:
            for name in entry.caches or suite.caches:
                chosen = suite.caches[name]
                yield Cell(
                    benchmark=entry.benchmark,
                    model=model,
                    cache=Cache(name=chosen.kind, params=chosen.model_extra or {}),
                    params=params | context,
                )


def _problems(path: Path, suite: Suite) -> Iterator[Problem]:
    caches, benchmarks = registry.entries("caches"), registry.entries("benchmarks")
    for name, cache in suite.caches.items():
        place = ("caches", name)
        if cache.kind not in caches:
            yield _unknown(path, (*place, "kind"), cache.kind, "cache", list(caches))
            continue
        described = caches[cache.kind]
        if not described.open:
            what = f"{cache.kind} parameter"
            given = cache.model_extra or {}
            yield from _param_problems(path, place, given, described.defaults, what)
    for index, entry in enumerate(suite.cells):
        where = ("cells", index)
        if entry.benchmark not in benchmarks:
            known = list(benchmarks)
            yield _unknown(path, (*where, "benchmark"), entry.benchmark, "benchmark", known)
            continue
        yield from _entry_problems(path, suite, entry, where)


def _entry_problems(
    path: Path, suite: Suite, entry: CellsEntry, where: tuple[str, int]
) -> Iterator[Problem]:
    described = registry.entries("benchmarks")[entry.benchmark]
    what = f"{entry.benchmark} parameter"
    yield from _param_problems(path, (*where, "params"), entry.params, described.defaults, what)
    for name in entry.caches:
        if name not in suite.caches:
            yield _unknown(path, (*where, "caches"), name, "cache of this suite", [*suite.caches])
    if described.model_free:
        return
    models = entry.models or suite.models
    if not models or not suite.caches:
        place = yaml_file.line(path, where)
        missing = "models" if not models else "caches"
        yield Problem(str(path), place, f"{entry.benchmark} needs {missing}", "name at least one")
    for model in models:
        yield from _model_problems(path, described, model)
    for name in entry.caches or suite.caches:
        cache = suite.caches.get(name)
        kind = registry.entries("caches").get(cache.kind) if cache else None
        if kind and kind.gguf != described.gguf:
            place = yaml_file.line(path, where)
            what = f"{entry.benchmark} cannot take cache {name!r}, of kind {kind.name}"
            yield Problem(str(path), place, what, "name caches of the other runtime's kind")


def _model_problems(path: Path, described: registry.Entry, model: str) -> Iterator[Problem]:
    place = yaml_file.line(path, ("models",))
    try:
        locate(model)
    except ModelError as error:
        yield Problem(str(path), place, str(error), "correct the path")
    if not described.takes(model):
        what = f"{described.name} cannot run model {model!r}"
        remedy = (
            "llama_bench takes a GGUF; MLX takes its own models and, of GGUFs, files of text models"
        )
        yield Problem(str(path), place, what, remedy)


def _param_problems(
    path: Path,
    where: yaml_file.Location,
    params: Mapping[str, JsonValue],
    defaults: Mapping[str, Any],
    what: str,
) -> Iterator[Problem]:
    for param, value in params.items():
        if param not in defaults:
            yield _unknown(path, (*where, param), param, what, list(defaults))
        elif wrong := _misfit(value, defaults[param]):
            place = yaml_file.line(path, (*where, param))
            yield Problem(str(path), place, wrong, f"the default is {defaults[param]}")


def _misfit(value: JsonValue, default: Any) -> str | None:
    """Say why a value cannot stand for a default: it must be of its kind, a count from 0 on."""
    kind, words = KINDS[type(default)]
    try:
        kind.validate_python(value, strict=True)
    except ValidationError:
        return f"{value!r} is no {words}"
    return None


def _unknown(
    path: Path, location: yaml_file.Location, name: str, what: str, known: list[str]
) -> Problem:
    place = yaml_file.line(path, location)
    return Problem(str(path), place, f"unknown {what} {name!r}", yaml_file.suggest(name, known))

"""The reference part of the documentation, made from the code: Markdown pages by their path."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from db import models
from farm.__main__ import commands
from farm.plan import suite as suites
from farm.plan.inventory import Host, Inventory, Subject
from farm.plan.suite import CellsEntry, Suite
from worker import registry
from worker.machine.environment.facts import FACTS
from worker.metrics import METRICS

SCHEMA = Path(models.__file__).with_name("schema.md")
WIDTH = 80  # characters of a help text
KIND_TITLES: dict[registry.Kind, str] = {"benchmarks": "Benchmarks", "caches": "Kinds of cache"}


def pages() -> dict[str, str]:
    """Return every page of the reference by its path below the documentation's root."""
    made: dict[str, Callable[[], Iterable[str]]] = {
        "commands": _commands,
        "suites": _suites,
        "benchmarks": partial(_registered, "benchmarks"),
        "caches": partial(_registered, "caches"),
        "metrics": _metrics,
        "inventory": _inventory,
        "facts": _facts,
        "tables": _tables,
    }
    return {f"reference/{name}.md": "\n".join(page()) + "\n" for name, page in made.items()}


def command(name: str) -> argparse.ArgumentParser:
    """Return the parser of one command, with its whole docstring."""
    module = importlib.import_module(f"farm.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"farm {name}", formatter_class=partial(argparse.HelpFormatter, width=WIDTH)
    )
    module.add_arguments(parser)
    return parser


def _commands() -> Iterator[str]:
    yield "# Commands\n\nEvery command of `farm`, as `--help` shows it."
    for name, summary in commands().items():
        module = importlib.import_module(f"farm.commands.{name.replace('-', '_')}")
        about = inspect.cleandoc(module.__doc__ or summary)
        yield f"\n## farm {name}\n\n{about}\n\n```text\n{command(name).format_help()}```"


def _suites() -> Iterator[str]:
    yield "# Suites\n\nWhat `farm suites` lists: the files of `farm/suites`."
    for name in suites.names():
        suite = suites.load(name)
        text = suite.description
        yield f"\n## {name}\n\n{text[0].upper()}{text[1:]}: {len(suites.cells(suite))} cells.\n"
        used = [_cells(suite, entry) for entry in suite.cells]
        yield from _table(("benchmark", "models", "caches", "contexts", "parameters"), used)
        kinds = [
            (_code(label), _code(cache.kind), _parameters(cache.model_extra or {}))
            for label, cache in suite.caches.items()
        ]
        if kinds:
            yield "\n"
            yield from _table(("cache", "kind", "parameters"), kinds)


def _cells(suite: Suite, entry: CellsEntry) -> Sequence[str]:
    alone = registry.entries("benchmarks")[entry.benchmark].model_free
    return (
        _code(entry.benchmark),
        "" if alone else _codes(entry.models or suite.models),
        "" if alone else _codes(entry.caches or suite.caches),
        ", ".join(str(context) for context in entry.contexts),
        _parameters(entry.params),
    )


def _registered(kind: registry.Kind) -> Iterator[str]:
    yield f"# {KIND_TITLES[kind]}\n\nThe files of `worker/{kind}`, with their defaults."
    for entry in registry.entries(kind).values():
        yield f"\n## {entry.name}\n\n{entry.summary}\n"
        if entry.model_free:
            yield "Needs no model and no cache.\n"
        rows = [(_code(name), _code(value)) for name, value in entry.defaults.items()]
        yield from _table(("parameter", "default"), rows) if rows else ["No parameters."]


def _metrics() -> Iterator[str]:
    yield "# Metrics\n\nThe table of `worker/metrics.py`. A gate passes less than the tolerance.\n"
    rows = [
        (_code(name), one.kind, one.unit, one.better, f"{100 * one.tolerance:g} %", one.description)
        for name, one in METRICS.items()
    ]
    yield from _table(("metric", "kind", "unit", "better", "tolerance", "meaning"), rows)


def _inventory() -> Iterator[str]:
    yield "# Inventory\n\nThe keys of `inventory.yaml`. Each has a default; so has the file."
    named: tuple[tuple[str, type[BaseModel]], ...] = (
        ("The file", Inventory),
        ("subject", Subject),
        ("hosts.NAME", Host),
    )
    for title, model in named:
        yield f"\n## {title}\n\n{inspect.cleandoc(model.__doc__ or '')}\n"
        rows = [
            (
                _code(field.alias or name),
                _type(field.annotation),
                _default(field.get_default(call_default_factory=True, validated_data={})),
                field.description or "",
            )
            for name, field in model.model_fields.items()
        ]
        yield from _table(("key", "type", "default", "meaning"), rows)


def _facts() -> Iterator[str]:
    yield "# Facts of a host\n\nWhat a record tells of its machine, before and after each job.\n"
    rows = [(_code(name), one.unit, one.text) for name, one in sorted(FACTS.items())]
    yield from _table(("fact", "unit", "meaning"), rows)


def _tables() -> Iterator[str]:
    """Yield the reasons of ``db/schema.md``, each table followed by its declaration."""
    sections = re.split(r"^(?=## )", SCHEMA.read_text(), flags=re.MULTILINE)
    for section in sections:
        yield section.rstrip()
        found = re.match(r"## (\w+)", section)
        if found and found[1] in models.Base.metadata.tables:
            yield "\nDeclared as:\n"
            yield from _declaration(found[1])
        yield ""


def _declaration(name: str) -> Iterator[str]:
    table = models.Base.metadata.tables[name]
    rows = [
        (
            _code(column.name),
            str(column.type),
            "yes" if column.nullable else "",
            "yes" if column.primary_key else "",
            _codes(sorted(key.target_fullname for key in column.foreign_keys)),
        )
        for column in table.columns
    ]
    yield from _table(("column", "type", "may be null", "key", "refers to"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(header)
    yield _row(["---"] * len(header))
    yield from (_row(row) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(value: object) -> str:
    return f"`{value}`"


def _codes(values: Iterable[object]) -> str:
    return ", ".join(_code(value) for value in values)


def _parameters(values: Mapping[str, object]) -> str:
    return ", ".join(_code(f"{name}={value}") for name, value in values.items())


def _default(value: object) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, dict) and value:
        return "this machine alone"
    return "" if value in (None, (), {}) else _code(value)


def _type(annotation: object) -> str:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return re.sub(r"(\w+\.)+(?=\w)", "", name).replace(" | None", " or nothing")

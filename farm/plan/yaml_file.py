"""Read a YAML file into a model; every problem at once, each with its line."""

from __future__ import annotations

from collections.abc import Hashable
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from farm.errors import ConfigurationError, Problem

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


def read(path: Path, model: type[Model]) -> Model:
    """Return the file as a ``model``; raises ConfigurationError with every problem found."""
    text = _text(path)
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigurationError([_syntax(path, error)]) from error
    except RecursionError as error:
        problem = Problem(str(path), "file", "is nested too deeply", "name a file of the farm's")
        raise ConfigurationError([problem]) from error
    try:
        return model.model_validate({} if document is None else document)
    except ValidationError as error:
        errors = sorted(error.errors(), key=lambda found: _line(tree, found["loc"]))
        problems = [_problem(path, tree, found, model) for found in errors]
        raise ConfigurationError(problems) from error


def line(path: Path, location: Location) -> str:
    """Return where a value stands, e.g. ``line 7, hosts.mini.user``."""
    return _place(yaml.compose(_text(path), Loader=yaml.SafeLoader), location)


def suggest(name: str, known: list[str]) -> str:
    """Return a remedy for an unknown name: the likeliest one, or all of them."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(known)}"


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  PyYAML's signature
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(str(path), "file", reason, "name a readable YAML file")
        raise ConfigurationError([problem]) from error


def _syntax(path: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}" if mark else "file"
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(str(path), place, f"not valid YAML: {what}", "mend the syntax there")


def _problem(path: Path, tree: yaml.Node | None, found: Any, model: type[BaseModel]) -> Problem:
    location = found["loc"]
    place = _place(tree, location)
    if found["type"] == "extra_forbidden":
        known = _fields(model, location[:-1])
        return Problem(str(path), place, "unknown key", suggest(str(location[-1]), known))
    if found["type"] == "missing":
        return Problem(str(path), place, f"{location[-1]!r} is missing", "add it")
    given = found["input"]
    message = found["msg"].removeprefix("Value error, ")
    return Problem(str(path), place, f"{message} (got {given!r})", "correct it")


def _place(tree: yaml.Node | None, location: Location) -> str:
    path = ".".join(str(step) for step in location)
    return f"line {_line(tree, location)}, {path}" if path else "file"


def _line(tree: yaml.Node | None, location: Location) -> int:
    """Return the line of a value, or of the innermost thing around a value that is missing."""
    node, line = tree, 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys allowed at a location, following models, lists and mappings."""
    current: Any = model
    for step in location:
        fields = getattr(current, "model_fields", {})
        inner = fields[step].annotation if step in fields else current
        current = _innermost(inner)
    fields = getattr(current, "model_fields", {})
    return sorted(field.alias or name for name, field in fields.items())


def _innermost(annotation: Any) -> Any:
    while inner := [a for a in get_args(annotation) if a not in {Ellipsis, NoneType}]:
        annotation = inner[-1]
    return annotation

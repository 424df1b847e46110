"""The database handle: opened once for reading, and asked again only after a write."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from db.engine import DatabaseError, open_readonly, stamp

VARIABLE = "TURBOFARM_DATABASE"

P = ParamSpec("P")
T = TypeVar("T")


def ask(question: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the answer to one of ``db.queries``, remembered until the file changes.

    Answers are shared between sessions: they must not be changed. Raises DatabaseError.
    """
    url = location()
    version = stamp(url)
    if not version:
        raise DatabaseError(f"{url}: no such database; make it with: farm run")
    answer: T = _answer(question.__name__, version, args, kwargs, question)
    return answer


def location() -> str:
    """Return the database's URL or path."""
    url = os.environ.get(VARIABLE)
    if not url:
        raise DatabaseError(f"{VARIABLE} names no database; start with: farm dashboard")
    return url


@st.cache_resource(max_entries=128, show_spinner=False)
def _answer(
    name: str,  # noqa: ARG001  part of the key
    version: tuple[int, ...],
    args: Any,
    kwargs: Any,
    _question: Callable[..., Any],
) -> Any:
    return _question(_engine(location(), version[2]), *args, **kwargs)


@st.cache_resource(max_entries=2, show_spinner=False)
def _engine(url: str, inode: int) -> Any:  # noqa: ARG001  another file at this path is reopened
    return open_readonly(url)

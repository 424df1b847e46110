"""Widgets whose value lives in the URL, so that a copied link opens the same view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def one(
    label: str,
    options: Sequence[T],
    key: str,
    *,
    show: Callable[[T], str] = str,
    start: int = 0,
    note: str | None = None,
) -> T:
    """Let one option be chosen; ``key`` names it in the URL. There must be an option."""
    _tell_missing(label, [show(option) for option in options], key)
    chosen: T = st.selectbox(
        label,
        options,
        index=min(start, len(options) - 1),
        format_func=show,
        key=key,
        help=note,
        bind="query-params",
    )
    return chosen


def some(
    label: str,
    options: Sequence[T],
    key: str,
    *,
    show: Callable[[T], str] = str,
    most: int = 6,
) -> list[T]:
    """Let up to ``most`` options be chosen; the first ones are to begin with."""
    _tell_missing(label, [show(option) for option in options], key)
    return st.multiselect(
        label,
        options,
        default=options[:most],
        format_func=show,
        key=key,
        max_selections=most if len(options) > most else None,
        bind="query-params",
    )


def _tell_missing(label: str, options: Sequence[str], key: str) -> None:
    if key in st.session_state:
        return
    missing = [name for name in st.query_params.get_all(key) if name and name not in options]
    for name in missing:
        st.warning(
            f"The link asks for {label.lower()} “{name}”, which has no data here (any more). "
            "This view shows what there is.",
            icon=":material/link_off:",
        )

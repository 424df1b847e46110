"""Widgets whose value lives in the address, defaults too: a copied link opens the same view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from dashboard.plain import plain

T = TypeVar("T")

YES, NO = "yes", "no"
# What this run of the page shows, and, for each choice, what was written into the address for it.
SHOWN, WRITTEN = "shown", "written"


def begin() -> None:
    """Forget what the last run of a page showed."""
    st.session_state[SHOWN] = {}


def tell_address() -> None:
    """Write all that was chosen into the address, at once: one step back leaves the page."""
    shown: dict[str, list[str]] = st.session_state.get(SHOWN, {})
    st.session_state[WRITTEN] = shown
    if {name: st.query_params.get_all(name) for name in st.query_params} != shown:
        st.query_params.from_dict(shown)


def one(
    label: str,
    options: Sequence[T],
    key: str,
    *,
    show: Callable[[T], str] = str,
    address: Callable[[T], str] | None = None,
    start: int = 0,
    note: str | None = None,
) -> T:
    """Let one option be chosen; ``key`` names it in the address. There must be an option.

    ``address`` gives an option's short name there; it is as shown by default.
    """
    name = address or show
    asked = _asked(key)
    if asked is not None:
        found = [option for option in options if name(option) == asked[-1]]
        if found:
            st.session_state[key] = found[0]
        else:
            _tell_missing(label, asked)
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[min(max(start, 0), len(options) - 1)]
    chosen: T = st.selectbox(label, options, format_func=show, key=key, help=note)
    _note(key, [name(chosen)])
    return chosen


def some(
    label: str,
    options: Sequence[T],
    key: str,
    *,
    show: Callable[[T], str] = str,
    most: int = 6,
    start: Sequence[T] | None = None,
) -> list[T]:
    """Let up to ``most`` options be chosen; the first ones, or ``start``, are to begin with."""
    asked = _asked(key)
    if asked is not None:
        by_name = {show(option): option for option in options}
        missing = [text for text in asked if text and text not in by_name]
        found = [by_name[text] for text in dict.fromkeys(asked) if text in by_name]
        if missing:
            _tell_missing(label, missing)
        if found or not missing:
            st.session_state[key] = found[:most]
    kept = [option for option in st.session_state.get(key, ()) if option in options]
    begin = list(options if start is None else start)[:most]
    st.session_state[key] = kept if key in st.session_state else begin
    chosen = st.multiselect(
        label,
        options,
        format_func=show,
        key=key,
        max_selections=most if len(options) > most else None,
    )
    _note(key, [show(option) for option in chosen] or [""])
    return list(chosen)


def switch(label: str, key: str, *, start: bool = False) -> bool:
    """Let something be switched on or off."""
    asked = _asked(key)
    if asked is not None and asked[-1] in {YES, NO}:
        st.session_state[key] = asked[-1] == YES
    elif asked is not None:
        _tell_missing(label, asked)
    st.session_state.setdefault(key, start)
    chosen: bool = st.toggle(label, key=key)
    _note(key, [YES if chosen else NO])
    return chosen


def words(label: str, key: str, *, hint: str = "") -> str:
    """Let a word be typed; empty at first."""
    asked = _asked(key)
    if asked is not None:
        st.session_state[key] = asked[-1][:100]
    chosen: str = st.text_input(label, key=key, placeholder=hint, max_chars=100)
    if chosen:
        _note(key, [chosen])
    return chosen


def _asked(key: str) -> list[str] | None:
    """Return what the address asks for, None if that is what the page has written there itself."""
    told = st.query_params.get_all(key)
    written: dict[str, Any] = st.session_state.get(WRITTEN, {})
    known = key in st.session_state and told == written.get(key, [])
    return None if known or not told else told


def _note(key: str, values: list[str]) -> None:
    st.session_state.setdefault(SHOWN, {})[key] = values


def _tell_missing(label: str, missing: Sequence[str]) -> None:
    for name in missing[:3]:
        st.warning(
            f"The link asks for {label.lower()} “{plain(name)}”, which has no data here (any "
            "more). This view shows what there is.",
            icon=":material/link_off:",
        )

"""The password that a dashboard asks for when it is reachable from other machines."""

from __future__ import annotations

import hmac
import os

import streamlit as st

PASSWORD = "TURBOFARM_DASHBOARD_PASSWORD"  # noqa: S105  the variable's name


def granted() -> bool:
    """Tell whether this session may see the pages; asks for the password if one is set."""
    expected = os.environ.get(PASSWORD)
    if not expected or st.session_state.get("granted"):
        return True
    given = st.text_input("Password", type="password")
    if given and hmac.compare_digest(given.encode(), expected.encode()):
        st.session_state["granted"] = True
        st.rerun()
    if given:
        st.error("Wrong password.")
    return False

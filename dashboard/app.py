"""The dashboard: its pages, and the one place where trouble with the database is told."""

from pathlib import Path

import streamlit as st

from dashboard import choices
from dashboard.plain import plain
from dashboard.turns import TURNS
from db.engine import DatabaseError

# A file, because Streamlit fetches material icons for the browser's tab from the network.
ICON = Path(__file__).with_name("icon.svg")

st.set_page_config(page_title="Turbofarm", page_icon=ICON, layout="wide")
page = st.navigation(
    [
        st.Page("views/tonight.py", title="Tonight", icon=":material/nightlight:", default=True),
        st.Page("views/devices.py", title="Devices", icon=":material/devices:"),
        st.Page("views/bandwidth.py", title="Bandwidth", icon=":material/show_chart:"),
        st.Page("views/commits.py", title="Commits", icon=":material/timeline:"),
        st.Page("views/caches.py", title="Caches", icon=":material/balance:"),
        st.Page("views/quality.py", title="Quality", icon=":material/target:"),
        st.Page("views/trust.py", title="Trust", icon=":material/gavel:"),
        st.Page("views/run.py", title="Run", icon=":material/receipt_long:"),
    ]
)
choices.begin()
try:
    with TURNS:
        page.run()
    choices.tell_address()
except DatabaseError as error:
    st.error(plain(error, 1000), icon=":material/database_off:")

"""The dashboard: its pages, and the one place where trouble with the database is told."""

import streamlit as st

from dashboard import access
from db.engine import DatabaseError

st.set_page_config(page_title="Turbofarm", page_icon=":material/speed:", layout="wide")
page = st.navigation(
    [
        st.Page("views/devices.py", title="Devices", icon=":material/devices:", default=True),
        st.Page("views/caches.py", title="Caches", icon=":material/balance:"),
        st.Page("views/run.py", title="Run", icon=":material/receipt_long:"),
    ]
)
try:
    if access.granted():
        page.run()
except DatabaseError as error:
    st.error(str(error), icon=":material/database_off:")

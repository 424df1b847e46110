"""The server: Streamlit's app behind the password."""

from pathlib import Path

from starlette.middleware import Middleware
from streamlit.starlette import App

from dashboard.access import Gate

app = App(Path(__file__).with_name("app.py"), middleware=[Middleware(Gate)])

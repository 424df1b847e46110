"""Start the server with everything imported, so that the first view does not wait for that."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from streamlit.web.cli import main

HEAVY = ("altair", "pandas", "pyarrow", "db.queries", "db.verdicts")

if __name__ == "__main__":
    for name in HEAVY:
        importlib.import_module(name)
    app = Path(__file__).with_name("app.py")
    sys.argv = ["streamlit", "run", str(app), *sys.argv[1:]]
    main()

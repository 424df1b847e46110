"""Start the server with everything imported, so that the first view does not wait for that."""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
from pathlib import Path

from streamlit import config
from streamlit.web.cli import main

# What the pages import, and what Streamlit imports when a page first has an icon and a table.
HEAVY = (
    "PIL.Image",
    "pyarrow.pandas_compat",
    "dashboard.commits.comparison",
    "dashboard.commits.regression_list",
    "dashboard.commits.timeline",
    "dashboard.beside",
    "dashboard.builds",
    "dashboard.emptiness",
    "dashboard.bandwidths",
    "dashboard.analysis.devices",
    "dashboard.analysis.nights",
    "dashboard.analysis.trials",
    "dashboard.charts.drawing",
    "dashboard.charts.quality",
    "dashboard.charts.roofline",
    "dashboard.charts.timeline",
    "dashboard.charts.trade_offs",
    "dashboard.analysis.trust",
    "worker.machine.environment.facts",
)


# Streamlit would look through every object of the process after each view, all kept answers among
# them: two thirds of a view's time on a large farm. Python collects by itself what is new.
COLLECTING = "runner.postScriptGC"


def prepare() -> None:
    """Import what every page needs, and do what else would be done during the first view."""
    for name in HEAVY:
        importlib.import_module(name)
    # Streamlit asks for it at the first element of a process; the files of all modules are found
    # at the first call alone.
    inspect.stack()
    config.set_option(COLLECTING, value=False)
    # What is imported stays, and going through all of it in vain takes 0.1 s of a page.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    prepare()
    app = Path(__file__).with_name("server.py")
    sys.argv = ["streamlit", "run", str(app), f"--{COLLECTING}=false", *sys.argv[1:]]
    main()

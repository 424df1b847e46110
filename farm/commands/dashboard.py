"""Open the dashboard on the database in a browser.

Other machines reach it only with a password or behind a proxy that asks for one.
"""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import os
import subprocess
import sys

from db.engine import open_readonly
from farm.commands._arguments import add_database, add_inventory, port
from farm.errors import FarmError
from farm.plan import inventory
from worker.process import harness

# The dashboard reads these; the names stand in dashboard/database.py and dashboard/access.py too,
# because neither side may import the other.
DATABASE = "TURBOFARM_DATABASE"
PASSWORD = "TURBOFARM_DASHBOARD_PASSWORD"  # noqa: S105  the variable's name

SETTINGS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#0072B2",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_database(parser)
    add_inventory(parser)
    parser.add_argument("--port", type=port, default=8501)
    parser.add_argument("--address", default="127.0.0.1", help="default: this machine only")
    parser.add_argument(
        "--base-path", default="", help="the path below which a proxy shows it, as in /farm"
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy before it asks for a password and encrypts",
    )


def main(args: argparse.Namespace) -> int:
    guarded = args.behind_proxy or os.environ.get(PASSWORD)
    if not guarded and not is_loopback(args.address):
        raise FarmError(
            f"--address {args.address}: everybody who reaches this machine could read the "
            f"results; set {PASSWORD}, or put a proxy before it and say --behind-proxy"
        )
    database = args.db or inventory.load(args.inventory).database
    open_readonly(database).dispose()
    base = args.base_path.strip("/")
    address = f"http://{args.address}:{args.port}/{base}".rstrip("/")
    print(f"{address}  (Ctrl-C ends it)", file=sys.stderr)
    environment = harness.environment() | {DATABASE: str(database)}
    started = command(args.address, args.port, base)
    status = subprocess.run(started, env=environment, check=False).returncode
    if status > 0:
        raise FarmError(
            f"the dashboard's server ended with status {status}; it said why above; where the port "
            "is taken, choose another with --port"
        )
    return 128 - status if status else 0  # a signal ended it: as shells say that


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def command(address: str, port: int, base: str = "") -> list[str]:
    """Return the command that starts the server; raises FarmError without the dashboard extra."""
    if not all(map(importlib.util.find_spec, ("dashboard", "streamlit"))):
        raise FarmError("the dashboard is not installed; try: pip install 'turbofarm[dashboard]'")
    settings = SETTINGS | {"server.address": address, "server.port": str(port)}
    if base:
        settings |= {"server.baseUrlPath": base}
    return [
        sys.executable,
        "-m",
        "dashboard",
        *(f"--{name}={value}" for name, value in settings.items()),
    ]

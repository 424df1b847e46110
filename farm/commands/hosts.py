"""Look at the hosts of the inventory; trust, bring up, pause, resume or take them down."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from db import leases
from db.engine import open_database
from farm.commands._arguments import add_inventory
from farm.errors import FarmError
from farm.hosts import bootstrap, checkup, ssh
from farm.plan import builds, inventory
from farm.plan.inventory import Inventory
from farm.report.table import aligned
from worker.machine.environment.bundle import Bundle, collect
from worker.machine.environment.check import Problem

Row = list[str]
ACTIONS = ("check", "trust", "up", "down", "pause", "resume")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("host", nargs="*", help="only these (default: all with an address)")
    parser.add_argument("--reason", default="", help="pause: why, for whoever wonders")
    parser.add_argument("--db", help="pause, resume: database file (default: the inventory's)")
    parser.add_argument("--yes", action="store_true", help="trust: record the keys shown")
    parser.add_argument("--purge", action="store_true", help="down: delete the farm's folder there")
    parser.add_argument(
        "--bundle", type=Path, help="check: write each host's raw answers to HOST.json in here"
    )
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    names = inventory.choose(known, args.host)
    if args.action in {"trust", "up", "down"}:
        names = [name for name in names if known.hosts[name].address]
    if not names:
        raise FarmError("inventory: no host has an address; add one, as its comments show")
    bundles: dict[str, Bundle] = {}
    found: dict[str, list[Problem]] = {}
    actions: dict[str, Callable[[str], Row]] = {
        "check": partial(_check, known, bundles, found),
        "trust": partial(_trust, known, args.yes),
        "up": partial(_up, known),
        "down": partial(_down, known, args.purge),
        "pause": partial(_pause, args.db or known.database, args.reason),
        "resume": partial(_resume, args.db or known.database),
    }
    rows, failed = [], 0
    for name in names:
        try:
            rows.append([name, "ok", *actions[args.action](name)])
        except FarmError as error:
            rows.append([name, "FAILED", str(error)])
            failed += 1
    print(aligned(["host", "state", "details"], rows))
    for name, bundle in bundles.items():
        already = {problem.fact for problem in found.setdefault(name, [])}
        found[name] += [one for one in checkup.of_bundle(bundle) if one.fact not in already]
    if told := checkup.report(found):
        print(f"\n{told}")
    if args.bundle:
        checkup.keep(bundles, args.bundle)
    return 3 if failed else 0


def _check(
    known: Inventory, bundles: dict[str, Bundle], found: dict[str, list[Problem]], name: str
) -> Row:
    """Add what is wrong to ``found``, and the bundle to ``bundles`` if the harness is there."""
    if not known.hosts[name].address:
        bundles[name] = collect()
        return [f"this machine: {checkup.device(bundles[name])}; {checkup.prove_here(name)}"]
    with _connected(known, name) as connection:
        began = time.time()
        facts = bootstrap.facts(connection)
        skew = checkup.skew(float(facts["time"]), began, time.time())
        free = int(facts["free"])
        found[name] = checkup.of_host(skew, free)
        place = bootstrap.site(connection)
        missing = [step.name for step in bootstrap.steps(place, {}) if not step.satisfied()]
        todo = f"missing: {', '.join(missing)} (farm hosts up {name})"
        if not missing:
            bundles[name] = checkup.ask(place)
            todo = f"ready: {checkup.device(bundles[name])}; {checkup.prove(place)}"
    return [f"Python {facts['python']}, clock {skew:+.1f} s, {free / 1e9:.0f} GB free, {todo}"]


def _trust(known: Inventory, yes: bool, name: str) -> Row:  # noqa: FBT001  the user's own flag
    host = known.hosts[name]
    key = ssh.host_key(name, host)
    if not yes:
        again = f"if that is right: farm hosts trust {name} --yes"
        raise FarmError(f"{ssh.fingerprint(key)}; compare it with the host's own; {again}")
    ssh.trust(host, key, known.state / "known_hosts")
    return [f"trusted: {ssh.fingerprint(key)}"]


def _up(known: Inventory, name: str) -> Row:
    build = builds.working_tree(known.subject, known.state / "builds")
    folder = known.state / "builds" / build.hash / "turbo"
    with _connected(known, name) as connection:
        done = []
        place = bootstrap.site(connection)
        wanted = bootstrap.steps(place, {build.hash: folder})
        for step, state in bootstrap.bring_up(place, wanted):
            print(f"{name}: {step}: {state}", file=sys.stderr)
            done.append(state)
    return [f"up: {done.count('done')} steps done, {done.count('was there')} were there"]


def _down(known: Inventory, purge: bool, name: str) -> Row:  # noqa: FBT001  the user's own flag
    with _connected(known, name) as connection:
        if purge:
            bootstrap.purge(connection)
            return ["nothing of ours is left"]
    return ["nothing of ours runs between sessions"]


def _pause(database: str, reason: str, name: str) -> Row:
    leases.pause(open_database(database), name, reason)
    return ["gets no new jobs; what it measures now goes on to its end"]


def _resume(database: str, name: str) -> Row:
    leases.unpause(open_database(database), name)
    return ["gets jobs again; continue with: farm run --resume"]


def _connected(known: Inventory, name: str) -> ssh.Connection:
    return ssh.Connection(name, known.hosts, known.state / "known_hosts")

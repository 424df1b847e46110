"""Look at the hosts of the inventory; trust, bring up, pause, resume or take them down."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from db import leases
from db.engine import open_database
from farm.commands._arguments import add_inventory
from farm.errors import FarmError, HostError
from farm.hosts import bootstrap, checkup
from farm.hosts.reach import Reach
from farm.hosts.side_by_side import side_by_side
from farm.hosts.ssh.connection import Connection
from farm.hosts.ssh.trust import Shown, trust
from farm.plan import builds, inventory
from farm.plan.inventory import Inventory
from farm.report.live import Lines, lines
from farm.report.table import aligned
from worker.machine.environment.bundle import Bundle, collect
from worker.machine.environment.check import Problem

ACTIONS = ("check", "trust", "up", "down", "pause", "resume")


@dataclass(frozen=True)
class Done:
    """What came of an action on one host: in words, and ``facts`` for programs."""

    details: str
    state: str = "ok"
    facts: dict[str, Any] = field(default_factory=dict)
    bundle: Bundle | None = None
    problems: tuple[Problem, ...] = ()


INTERRUPTED = "what was done on hosts stays; the same command does the rest"


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
    parser.add_argument("--json", action="store_true", help="print a JSON list, one entry a host")
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    names = inventory.choose(known, args.host)
    if args.action in {"trust", "up", "down"}:
        names = [name for name in names if known.hosts[name].address]
    if not names:
        raise FarmError("inventory: no host has an address; add one, as its comments show")
    with lines(names) as shown:
        done = _each(_action(args, known, shown), names, shown)
    bundles = {name: one.bundle for name, one in done.items() if one.bundle}
    print(_json(done) if args.json else _table(done))
    if args.bundle:
        checkup.keep(bundles, args.bundle)
    return 0 if all(one.state == "ok" for one in done.values()) else 3


def _action(args: argparse.Namespace, known: Inventory, shown: Lines) -> Callable[[str], Done]:
    actions: dict[str, Callable[[], Callable[[str], Done]]] = {
        "check": lambda: partial(_check, known, shown),
        "trust": lambda: partial(_trust, known, shown, args.yes),
        "up": lambda: _up(known, shown),
        "down": lambda: partial(_down, known, shown, args.purge),
        "pause": lambda: partial(_pause, args.db or known.database, args.reason),
        "resume": lambda: partial(_resume, args.db or known.database),
    }
    return actions[args.action]()


def _each(action: Callable[[str], Done], names: Sequence[str], shown: Lines) -> dict[str, Done]:
    """Do it on all hosts at once, a live line for each."""

    def work(name: str) -> Done:
        try:
            return action(name)
        finally:
            shown.done(name)

    found = side_by_side(work, names)
    return {
        name: Done(str(one), "FAILED") if isinstance(one, HostError) else one
        for name, one in found.items()
    }


def _table(done: dict[str, Done]) -> str:
    rows = [[name, one.state, one.details] for name, one in done.items()]
    wrong = checkup.report({name: one.problems for name, one in done.items()})
    return "\n\n".join(
        part for part in (aligned(["host", "state", "details"], rows), wrong) if part
    )


def _json(done: dict[str, Done]) -> str:
    rows = []
    for name, one in done.items():
        row = {"host": name, "state": one.state.lower(), "details": one.details, **one.facts}
        row["problems"] = [asdict(problem) for problem in one.problems]
        rows.append(row)
    return json.dumps(rows, indent=2)


def _check(known: Inventory, shown: Lines, name: str) -> Done:
    if not known.hosts[name].address:
        return _check_here(shown, name)
    with _connected(known, shown, name) as connection:
        shown.tell(name, "looking for its Python")
        place = bootstrap.site(connection)
        found = place.found
        shown.tell(name, "looking at what it has, and its state")
        missing = [step.name for step in bootstrap.steps(place, {}) if not step.satisfied()]
        todo = f"missing: {', '.join(missing)} (farm hosts up {name})"
        bundle = None if missing else checkup.ask(place)
        if bundle:
            shown.tell(name, "running the golden vectors")
            todo = f"ready: {checkup.device(bundle)}; {checkup.prove(place)}"
    facts = {
        "python": found.version,
        "python_path": found.path,
        "clock_skew_s": found.skew,
        "free_bytes": found.free,
        "missing": missing,
    }
    clock = f"clock {found.skew:+.1f} s, {found.free / 1e9:.0f} GB free"
    known_first = checkup.of_host(found.skew, int(found.free))
    wrong = _all(known_first, bundle) if bundle else tuple(known_first)
    state = "to bring up" if missing else "ok"
    return Done(f"Python {found.version}, {clock}, {todo}", state, facts, bundle, wrong)


def _all(known: Sequence[Problem], bundle: Bundle) -> tuple[Problem, ...]:
    """Add what a host tells of itself to what is known of it, each fact once."""
    already = {problem.fact for problem in known}
    told = (problem for problem in checkup.of_bundle(bundle) if problem.fact not in already)
    return (*known, *told)


def _check_here(shown: Lines, name: str) -> Done:
    shown.tell(name, "asking this machine")
    bundle = collect()
    shown.tell(name, "running the golden vectors")
    details = f"this machine: {checkup.device(bundle)}; {checkup.prove_here(name)}"
    return Done(details, bundle=bundle, problems=checkup.of_bundle(bundle))


def _trust(known: Inventory, shown: Lines, yes: bool, name: str) -> Done:  # noqa: FBT001  the user's own flag
    shown.tell(name, "asking for its key")
    machines = trust(name, known.hosts, known.state / "known_hosts", record=yes)
    keys = [one._asdict() for one in machines]
    words = ", ".join(_fingerprint(one, name) for one in machines)
    if yes:
        return Done(f"trusted: {words}", facts={"keys": keys})
    if all(one.state == "recorded" for one in machines):
        return Done(f"trusted already: {words}", facts={"keys": keys})
    again = f"if that is right: farm hosts trust {name} --yes"
    state = "CHANGED" if any(one.state == "CHANGED" for one in machines) else "to compare"
    details = f"{words}; compare it with the host's own; {again}"
    return Done(details, state, {"keys": keys})


def _fingerprint(one: Shown, host: str) -> str:
    return one.fingerprint if one.machine == host else f"{one.machine}: {one.fingerprint}"


def _up(known: Inventory, shown: Lines) -> Callable[[str], Done]:
    build = builds.working_tree(known.subject, known.state / "builds")
    folder = known.state / "builds" / build.hash / "turbo"
    reach = Reach(known.hosts, known.state, shown.tell)

    def up(name: str) -> Done:
        done: list[str] = []
        with reach.up(name, {build.hash: folder}, done.append).connection:
            new, old = done.count("done"), done.count("was there")
        return Done(f"up: {new} steps done, {old} were there", facts={"done": new, "there": old})

    return up


def _down(known: Inventory, shown: Lines, purge: bool, name: str) -> Done:  # noqa: FBT001  the user's own flag
    with _connected(known, shown, name) as connection:
        if purge:
            bootstrap.purge(bootstrap.site(connection))
            return Done("nothing of ours is left")
    return Done("nothing of ours runs between sessions")


def _pause(database: str, reason: str, name: str) -> Done:
    leases.pause(open_database(database), name, reason)
    return Done("gets no new jobs; what it measures now goes on to its end")


def _resume(database: str, name: str) -> Done:
    leases.unpause(open_database(database), name)
    return Done("gets jobs again; continue with: farm run --resume")


def _connected(known: Inventory, shown: Lines, name: str) -> Connection:
    shown.tell(name, "connecting")
    return Connection(name, known.hosts, known.state / "known_hosts")

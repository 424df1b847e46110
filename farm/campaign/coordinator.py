"""A coordinator: the dispatcher over an inventory's engines, its leases in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from db.engine import Engine
from db.leases import Leases
from db.queries import typical_seconds
from farm.dispatch.bridge import Dispatch, dispatching
from farm.dispatch.link import Tell
from farm.engines.choice import chosen
from farm.plan.inventory import Inventory


@contextmanager
def open_dispatch(known: Inventory, database: Engine, tell: Tell) -> Iterator[Dispatch]:
    """Be a coordinator for as long as the context lasts; ``tell`` shows what is done on hosts."""
    with (
        Leases(database) as ledger,
        dispatching(
            chosen(known, tell), ledger, known.hosts, typical_seconds(database)
        ) as dispatch,
    ):
        yield dispatch

"""Which engine reaches which host: this machine by processes, others over Ray or SSH."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from sqlalchemy import Engine as Database

from db.leases import Leases
from db.queries import typical_seconds
from farm.dispatch import Dispatch, Engine, dispatching
from farm.inventory import Inventory
from farm.line import Session, Tell
from farm.over_ray import OverRay
from farm.processes import Processes
from farm.remote import Remote

ENGINES = ("ray", "ssh")


class Engines:
    """The engine of processes for hosts that are this machine, another for all others."""

    def __init__(self, known: Inventory, remote: Engine, tell: Tell) -> None:
        self._hosts, self._remote = known.hosts, remote
        self._local = Processes(known.state, tell)

    def session(self, host: str) -> AbstractAsyncContextManager[Session]:
        engine = self._local if self._hosts[host].local else self._remote
        return engine.session(host)

    async def close(self) -> None:
        await self._remote.close()


@contextmanager
def open_dispatch(known: Inventory, database: Database, tell: Tell) -> Iterator[Dispatch]:
    """Be a coordinator for as long as the context lasts; ``tell`` shows what is done on hosts."""
    remote = OverRay if known.engine == "ray" else Remote
    engines = Engines(known, remote(known.hosts, known.state, tell), tell)
    with (
        Leases(database) as ledger,
        dispatching(engines, ledger, known.hosts, typical_seconds(database)) as dispatch,
    ):
        yield dispatch

"""Which engine reaches which host: this machine by processes, others over Ray or SSH."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from farm.dispatch.dispatcher import Engine
from farm.dispatch.link import Session, Tell
from farm.engines.local import Processes
from farm.engines.over_ssh import Remote
from farm.engines.ray.engine import OverRay
from farm.plan.inventory import Inventory

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


def chosen(known: Inventory, tell: Tell) -> Engines:
    """Return the engines of an inventory; ``tell`` shows what is done on hosts."""
    remote = OverRay if known.engine == "ray" else Remote
    return Engines(known, remote(known.hosts, known.state, tell), tell)

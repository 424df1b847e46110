"""Jobs to hosts, records back as they finish: this machine by processes, the others over SSH."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from farm import bootstrap
from farm.errors import FarmError
from farm.inventory import Host
from farm.processes import processes
from farm.ssh import Channel, Connection, HostError
from worker.job import Job
from worker.record import Failure, Record

ATTEMPTS = 3
BEAT = 5.0  # seconds between signs of life; the host gives up after four of them are missing
GRACE = 120.0  # seconds beyond a job's deadline: its start, and waiting for the machine's lock


@dataclass(frozen=True)
class _Delivery:
    """A record on its way to the database; ``stored`` is set once it is there."""

    record: Record | BaseException
    stored: threading.Event = field(default_factory=threading.Event)


def dispatch(jobs: Iterable[Job], hosts: Mapping[str, Host], state: Path) -> Iterator[Record]:
    """Run each host's jobs in order, hosts side by side; yield records as they finish.

    A record counts as stored, and is deleted from its host, once the next one is asked for. Hosts
    that are this machine take turns. A host that stays out of reach ends its jobs as lost.
    """
    waiting = list(jobs)
    if unknown := {job.host for job in waiting} - set(hosts):
        raise FarmError(f"inventory: no host {', '.join(sorted(unknown))}; put it back to go on")
    lanes: dict[str, list[Job]] = {}
    for job in waiting:
        lanes.setdefault("" if hosts[job.host].local else job.host, []).append(job)
    deliveries: SimpleQueue[_Delivery] = SimpleQueue()
    threads = [
        threading.Thread(target=_deliver, args=(records, deliveries), daemon=True)
        for records in (
            _remote(name, lane, hosts, state) if name else processes(lane, state / "builds")
            for name, lane in lanes.items()
        )
    ]
    for thread in threads:
        thread.start()
    for _ in waiting:
        delivery = deliveries.get()
        if isinstance(delivery.record, BaseException):
            raise delivery.record
        yield delivery.record
        delivery.stored.set()
    for thread in threads:
        thread.join()


def _deliver(records: Iterator[Record], deliveries: SimpleQueue[_Delivery]) -> None:
    try:
        for record in records:
            delivery = _Delivery(record)
            deliveries.put(delivery)
            delivery.stored.wait()
    except BaseException as error:  # noqa: BLE001  raised again by whoever waits for records
        deliveries.put(_Delivery(error))


def _remote(name: str, jobs: list[Job], hosts: Mapping[str, Host], state: Path) -> Iterator[Record]:
    """Yield a record for every job; what is measured already but not acknowledged comes first."""
    pending = {job.id: job for job in jobs}
    builds = {job.build.hash: state / "builds" / job.build.hash / "turbo" for job in jobs}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with Connection(name, hosts, state / "known_hosts") as connection:
                place = bootstrap.site(connection)
                for _ in bootstrap.bring_up(place, builds):
                    pass
                for record in _session(place, pending):
                    del pending[record.job.id]
                    yield record.model_copy(update={"attempt": attempt})
                return
        except HostError as error:
            reason = str(error)
    for job in pending.values():
        failure = Failure(kind="lost", message=reason, remedy=f"then: farm run --host {name}")
        yield Record(
            job=job, attempt=ATTEMPTS, status="failed", started=time.time(), failure=failure
        )


def _session(place: bootstrap.Site, pending: Mapping[str, Job]) -> Iterator[Record]:
    """Hold one session open and do all jobs in it; raises HostError when the host is lost."""
    connection = place.connection
    with connection.start(place.command("-m", "worker.serve", place.folder), BEAT) as channel:
        said = _lines(connection, channel)
        for job in list(pending.values()):
            if job.id in pending:
                _tell(connection, channel, job.model_dump_json())
            patience = time.monotonic() + job.deadline + GRACE
            while job.id in pending:
                line = next(said)
                if line:
                    record = Record.model_validate_json(line)
                    if record.job.id in pending:
                        yield record
                        done = json.dumps({"acknowledge": record.job.id})
                        _tell(connection, channel, done)
                elif time.monotonic() > patience:
                    raise HostError(f"host {connection.name!r}: no record of a job; see its log")


def _lines(connection: Connection, channel: Channel) -> Iterator[str]:
    """Yield the lines that a session says, and "" after each silent while, once it has a beat."""
    rest = b""
    try:
        while True:
            try:
                piece = channel.recv(65536)
            except TimeoutError:
                _tell(connection, channel, "{}")
                yield ""
                continue
            if not piece:
                raise HostError(f"host {connection.name!r}: {_last_words(channel)}")
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in whole)
    except OSError as error:
        raise connection.lost(error) from error


def _tell(connection: Connection, channel: Channel, line: str) -> None:
    try:
        channel.sendall(f"{line}\n".encode())
    except OSError as error:
        raise connection.lost(error) from error


def _last_words(channel: Channel) -> str:
    words = channel.makefile_stderr("rb").read().decode(errors="replace")
    words = words.strip().rpartition("\n")[2]
    return f"the session ended: {words or 'no reason given'}"

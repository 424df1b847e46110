"""Who measures what on which host now: leases, so that no job and no device is had twice.

A coordinator is a living process that holds the lock of a file beside the database; the kernel
gives it back when the process is gone, however it ended. Its leases are then lost.
"""

from __future__ import annotations

import fcntl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, Select, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from db.models import Attempt, Coordinator, Job, Pause, Record, Wish
from db.store import record_result
from worker.record import Record as WireRecord


class Leases:
    """The leases of one coordinator, from now until it is closed or its process ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened = ExitStack()
        with engine.begin() as connection:
            epoch = insert(Coordinator).values(started=time.time()).returning(Coordinator.epoch)
            self.epoch: int = connection.execute(epoch).scalar_one()
        file = self._opened.enter_context(_file(engine, self.epoch).open("w"))
        fcntl.flock(file, fcntl.LOCK_EX)
        with engine.begin() as connection:
            _end_gone(connection, engine, self.epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._engine.begin() as connection:
            _end(connection, self.epoch, "the coordinator ended")
        _file(self._engine, self.epoch).unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Let go of everything as a killed process does, and tell nobody."""
        self._opened.close()

    def lease(self, job: str, lane: str, host: str) -> int | None:
        """Return the number of a new attempt, counted from 1; None while it has to wait.

        A device serves coordinators in the order in which they asked for it. A job that another
        coordinator has under way has to wait too.
        """
        try:
            with self._engine.begin() as connection:
                wish = upsert(Wish).values(lane=lane, epoch=self.epoch, since=time.time())
                connection.execute(wish.on_conflict_do_nothing())
                return self._first_in_line(connection, job, lane, host)
        except IntegrityError:
            return None

    def lose(self, job: str, number: int, reason: str) -> None:
        """Note that an attempt will bring no record."""
        of = (Attempt.job_id == job, Attempt.number == number, Attempt.state == "leased")
        values = {"state": "lost", "ended": time.time(), "reason": reason}
        with self._engine.begin() as connection:
            connection.execute(update(Attempt).where(*of).values(values))

    def settled(self, job: str) -> bool:
        """Tell whether a job has its record."""
        with self._engine.connect() as connection:
            return connection.execute(_record_of(job)).first() is not None

    def adopt(self, record: WireRecord) -> bool:
        """Store a record that nobody here waits for; return False if its job is not known here."""
        with self._engine.connect() as connection:
            if connection.execute(select(Job.id).where(Job.id == record.job.id)).first() is None:
                return False
        record_result(self._engine, record)
        return True

    def paused(self, host: str) -> bool:
        """Tell whether a host is to get no new jobs."""
        with self._engine.connect() as connection:
            return (
                connection.execute(select(Pause.host).where(Pause.host == host)).first() is not None
            )

    def _first_in_line(self, connection: Connection, job: str, lane: str, host: str) -> int | None:
        line = select(Wish.epoch).where(Wish.lane == lane).order_by(Wish.since, Wish.epoch)
        first = connection.execute(line).scalar()
        if first != self.epoch:
            _end_gone(connection, self._engine, self.epoch)
            return None
        taken = select(Attempt.id).where(Attempt.lane == lane, Attempt.state == "leased")
        if connection.execute(taken).first():
            _end_gone(connection, self._engine, self.epoch)
            return None
        connection.execute(delete(Wish).where(Wish.lane == lane, Wish.epoch == self.epoch))
        if connection.execute(_record_of(job)).first():
            return None
        newest = select(func.max(Attempt.number)).where(Attempt.job_id == job)
        number = (connection.execute(newest).scalar() or 0) + 1
        values = {
            "job_id": job,
            "number": number,
            "lane": lane,
            "host": host,
            "epoch": self.epoch,
            "state": "leased",
            "leased": time.time(),
            "reason": "",
        }
        connection.execute(insert(Attempt).values(values))
        return number


def pause(engine: Engine, host: str, reason: str) -> None:
    """Give a host no new jobs; what it measures now goes on to its end."""
    row = {"host": host, "since": time.time(), "reason": reason}
    with engine.begin() as connection:
        connection.execute(upsert(Pause).values(row).on_conflict_do_update(["host"], set_=row))


def unpause(engine: Engine, host: str) -> None:
    """Give a host jobs again."""
    with engine.begin() as connection:
        connection.execute(delete(Pause).where(Pause.host == host))


def _record_of(job: str) -> Select[int]:
    return select(Record.id).where(Record.job_id == job)


def _end_gone(connection: Connection, engine: Engine, living: int) -> None:
    """End the leases and wishes of coordinators whose process is gone."""
    waiting = select(Wish.epoch).union(select(Attempt.epoch).where(Attempt.state == "leased"))
    for (epoch,) in connection.execute(waiting).all():
        if epoch != living and _gone(_file(engine, epoch)):
            _end(connection, epoch, "the coordinator was gone")


def _gone(file: Path) -> bool:
    try:
        with file.open("r+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    file.unlink(missing_ok=True)
    return True


def _end(connection: Connection, epoch: int, reason: str) -> None:
    of = (Attempt.epoch == epoch, Attempt.state == "leased")
    values = {"state": "lost", "ended": time.time(), "reason": reason}
    connection.execute(update(Attempt).where(*of).values(values))
    connection.execute(delete(Wish).where(Wish.epoch == epoch))


def _file(engine: Engine, epoch: int) -> Path:
    path = Path(str(engine.url.database))
    return path.with_name(f"{path.name}-coordinator-{epoch}")

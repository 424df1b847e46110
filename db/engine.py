"""Open the database: SQLite with WAL and foreign keys, at the newest revision."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, ExceptionContext, create_engine, event, inspect, text
from sqlalchemy import Engine as Engine  # noqa: PLC0414  the name others use
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from db import published, rollup

MIGRATIONS = Path(__file__).parent / "migrations"

REMEDIES = {
    "readonly": "make the file and its folder writable, or choose another with --db",
    "full": "free some disk space, then continue with --resume",
    "not a database": "this file belongs to another program; choose another with --db",
    "unable to open": "make its folder, or choose another with --db",
    "locked": "end the other program that writes it, then try again",
    "disk I/O": "free some disk space, look after the disk, or restore the file from a copy",
    "no such": "this file is not whole; restore it from a copy, or choose another with --db",
    "malformed": "restore the file from a copy, or choose another with --db",
}

PRAGMAS = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"]

# Seconds to wait for another program's lock. WAL never makes a reader wait for a writer, so a
# reader that has to is facing another program.
WRITER_PATIENCE = 30.0
READER_PATIENCE = 2.0


class DatabaseError(Exception):
    """A database that cannot be used: which file, what is wrong, what to do."""


def open_database(url: str) -> Engine:
    """Open a SQLite file for writing, making or upgrading its tables.

    ``url`` is a path or ``sqlite:///PATH``. Raises DatabaseError for a file that is unreadable,
    foreign, or made by a newer turbofarm.
    """
    path = database_path(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}; choose another with --db") from error
    engine = _engine(f"sqlite:///{path}", path, WRITER_PATIENCE)
    with engine.begin() as connection:
        _upgrade(connection, path)
        published.bring_up_to_date(connection)
    return engine


def open_readonly(url: str) -> Engine:
    """Open an existing SQLite file for reading only; a writer beside it is not disturbed."""
    path = database_path(url)
    if not path.exists():
        raise DatabaseError(f"{path}: no such database; make it with: farm run")
    engine = _engine(f"sqlite:///file:{path}?mode=ro&uri=true", path, READER_PATIENCE)
    with engine.connect() as connection:
        if _check(connection, path) == "older":
            raise DatabaseError(f"{path}: made by an older turbofarm; upgrade it with: farm run")
    return engine


def stamp(url: str) -> tuple[int, ...]:
    """Return what changes with every write to the file: for caches of what was read from it."""
    path = database_path(url)
    figures: list[int] = []
    for part in (path, path.with_name(path.name + "-wal")):
        with suppress(FileNotFoundError):  # the second goes with the last who writes
            state = part.stat()
            figures += (state.st_mtime_ns, state.st_size, state.st_ino)
    return tuple(figures)


def database_path(url: str) -> Path:
    """Return the file that a URL or plain path names."""
    if "://" not in url:
        return _file(Path(url))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(f"{url}: not a database URL; use sqlite:///PATH") from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise DatabaseError(f"{url}: only SQLite files are supported; use sqlite:///PATH")
    return _file(Path(parsed.database))


def _file(path: Path) -> Path:
    if path.is_dir():
        raise DatabaseError(f"{path}: is a folder; name a file with --db")
    return path


def migrate(connection: Connection, revision: str) -> None:
    """Bring the tables from what they are to a revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _engine(url: str, path: Path, patience: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": patience})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "handle_error", lambda context: _explain(context, path))
    return engine


def _configure(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in PRAGMAS:
        try:
            connection.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            # A read-only connection can't change the journal and needs not to.
            if "readonly" not in str(error):
                raise


def _explain(context: ExceptionContext, path: Path) -> None:
    message = str(context.original_exception)
    remedy = next((cure for sign, cure in REMEDIES.items() if sign in message), None)
    if remedy and isinstance(context.original_exception, sqlite3.Error):
        raise DatabaseError(f"{path}: {message}; {remedy}") from context.original_exception


def _upgrade(connection: Connection, path: Path) -> None:
    if _check(connection, path) == "current":
        return
    # All of the upgrade or nothing; who opens the file at the same time waits, and finds it done.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    if _check(connection, path) == "current":
        return
    try:
        had_points = inspect(connection).has_table("point")
        migrate(connection, "head")
        if had_points:
            rollup.judge_again(connection)
        else:
            rollup.rebuild(connection)
    except DBAPIError as error:
        raise DatabaseError(f"{path}: cannot be upgraded: {error.orig}") from error


def _check(connection: Connection, path: Path) -> str:
    """Return ``current`` or ``older``; raise for a file that is newer or not ours."""
    script = ScriptDirectory(str(MIGRATIONS))
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if tables:
            raise DatabaseError(
                f"{path}: holds tables of another program ({', '.join(sorted(tables)[:3])}); "
                "choose another with --db"
            )
        return "older"
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision == script.get_current_head():
        return "current"
    if revision not in {known.revision for known in script.walk_revisions()}:
        raise DatabaseError(
            f"{path}: made by another turbofarm (revision {revision}); install that version, "
            "or choose another file with --db"
        )
    return "older"

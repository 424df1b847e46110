"""Fixtures that several test files share."""

import pytest

from db.engine import open_database
from example_records import fill


@pytest.fixture(scope="session")
def example_database(tmp_path_factory):
    """Return the path of a database with three nights of three devices; it must not be changed."""
    path = tmp_path_factory.mktemp("example") / "farm.db"
    engine = open_database(str(path))
    fill(engine, nights=3)
    engine.dispose()
    return path

"""Fixtures that several test files share, and how tests are spread over processes."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

import db
import worker
from db.engine import open_database
from example_records import fill
from fake_github import serving
from kept import kept, sources

# A machine that is busy otherwise makes a case slow, not wrong.
settings.register_profile("farm", deadline=None)
settings.load_profile("farm")

#: What takes longest begins first, so that no process is left alone with it at the end.
LONGEST = (
    "engines/test_ray.py",
    "turbo/test_models.py",
    "documents/test_docs.py",
    "plan/test_seed_suites.py",
    "campaign/test_history_to_culprit.py",
    "dashboard/test_app.py",
)


#: What sweeps up after dead holders, as labs do, must not meet them.
HOLDERS = ("process/test_hold.py",)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep a file's tests in one process, for they share what is dear; all labs in one too."""
    wanted = any(item.get_closest_marker("compiler") for item in items)
    found = shutil.which("g++") or shutil.which("clang++")
    if wanted and os.environ.get("FARM_REQUIRE_COMPILER") and not found:
        raise pytest.UsageError("FARM_REQUIRE_COMPILER=1, but there is no C++ compiler")
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get("/".join(item.path.parts[-2:]), len(order)))
    for item in items:
        place = "/".join(item.path.parts[-2:])
        lab = item.get_closest_marker("network_namespaces") or place in HOLDERS
        if lab or item.get_closest_marker("browser") or place in order:
            item.add_marker("slow")
        item.add_marker(pytest.mark.xdist_group("lab" if lab else str(item.path)))


@pytest.fixture(scope="session")
def example_database(tmp_path_factory):
    """Return the path of a database with three nights of three devices; it must not be changed."""
    path = tmp_path_factory.mktemp("example") / "farm.db"
    support = Path(__file__).parent / "support"
    of = (
        sources(Path(db.__file__).parent, Path(worker.__file__).parent)
        + (support / "example_records.py").read_bytes()
    )
    shutil.copy(kept("example.db", of, _fill), path)
    return path


def _fill(path):
    engine = open_database(str(path))
    fill(engine, nights=3)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


@pytest.fixture
def serve():
    """Start fake GitHubs."""
    with serving() as start:
        yield start

"""Fixtures that several test files share, and how tests are spread over processes."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

import db
import worker
from db.engine import open_database
from example_records import fill
from fake_github import serving
from kept import kept, sources
from programs import load_fast

load_fast()

# A machine that is busy otherwise makes a case slow, not wrong.
settings.register_profile("farm", deadline=None)
settings.load_profile("farm")

#: What takes longest begins first, so that no process is left alone with it at the end.
LONGEST = (
    "engines/test_ray.py",
    "hosts/test_hosts.py",
    "documents/test_docs.py",
    "dashboard/test_browser.py",
    "plan/test_seed_suites.py",
    "hosts/test_ways.py",
    "hosts/test_doctor.py",
    "hosts/test_shells.py",
    "turbo/test_models.py",
    "documents/test_action.py",
    "dashboard/test_app.py",
    "commands/test_run.py",
    "turbo/test_fused.py",
    "plan/test_foreign_subject.py",
    "worker/test_peers.py",
    "worker/test_mm_needle.py",
    "worker/test_llama_bench.py",
    "commands/test_doctor.py",
)

#: What holds commands on hosts: each sweeps up after dead holders, and must not meet another's.
HOLDERS = ("engines/test_ray.py", "process/test_hold.py")


def pytest_configure():
    """Let programs that tests start hear Ctrl-C, also where a shell began us in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep a file's tests in one process, for they share what is dear, but for some."""
    wanted = any(item.get_closest_marker("compiler") for item in items)
    found = shutil.which("g++") or shutil.which("clang++")
    if wanted and os.environ.get("FARM_REQUIRE_COMPILER") and not found:
        raise pytest.UsageError("FARM_REQUIRE_COMPILER=1, but there is no C++ compiler")
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(_file(item), len(order)))
    for item in items:
        file = _file(item)
        lab = item.get_closest_marker("network_namespaces")
        if lab or item.get_closest_marker("browser"):
            item.add_marker("slow")
        if not item.get_closest_marker("apart"):
            item.add_marker(pytest.mark.xdist_group("holders" if file in HOLDERS else file))


def _file(item):
    return "/".join(item.path.parts[-2:])


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

"""Fixtures that several test files share, and how tests are spread over processes."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

import db
import worker
from db.engine import open_database
from example_records import fill
from fake_github import serving
from kept import kept, sources
from programs import load_fast, never_sync

load_fast()
never_sync()

# A machine that is busy otherwise makes a case slow, not wrong.
settings.register_profile("farm", deadline=None)
settings.load_profile("farm")

#: What takes longest begins first, so that no process is left alone with it at the end.
LONGEST = (
    "engines/test_ray.py",
    "documents/test_docs.py",
    "hosts/test_hosts.py",
    "documents/test_action.py",
    "dashboard/test_browser.py",
    "plan/test_seed_suites.py",
    "commands/test_run.py",
    "turbo/test_models.py",
    "turbo/test_server.py",
    "hosts/test_ways.py",
    "turbo/test_fused.py",
    "turbo/test_fused_store.py",
    "plan/test_foreign_subject.py",
    "campaign/test_choose.py",
    "commands/test_doctor.py",
    "hosts/test_doctor.py",
    "turbo/test_cache.py",
    "hosts/test_shells.py",
    "dashboard/test_addresses.py",
    "dashboard/test_app.py",
    "process/test_launch.py",
    "turbo/test_prefixes.py",
    "worker/test_mm_needle.py",
    "worker/test_conformance.py",
    "worker/test_llama_bench.py",
    "turbo/test_commands.py",
)

#: Tests that share nothing with the others of their file, so any process may have them.
APART = (
    "hosts/test_hosts.py",
    "plan/test_seed_suites.py",
    "documents/test_docs.py::test_the_commands_of_a_page_do_what_the_page_says",
)

#: What holds commands on hosts: each sweeps up after dead holders, and must not meet another's.
HOLDERS = ("engines/test_ray.py", "process/test_hold.py")


class ByFile(LoadScopeScheduling):
    """Keeps a file's tests in one process, for they share what is dear, but for some.

    Not by the marker of ``--dist loadgroup``, which xdist 3.8 does not hear with pytest 9.2.
    """

    def _split_scope(self, nodeid):
        place = nodeid.removeprefix("tests/")
        file = place.partition("::")[0]
        if file in HOLDERS:
            return "holders"
        return nodeid if place.startswith(APART) else file


@pytest.hookimpl(optionalhook=True)  # there is none with -p no:xdist
def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


def pytest_configure():
    """Let programs that tests start hear Ctrl-C, also where a shell began us in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Let what takes longest come first, and mark labs and browsers as slow."""
    wanted = any(item.get_closest_marker("compiler") for item in items)
    found = shutil.which("g++") or shutil.which("clang++")
    if wanted and os.environ.get("FARM_REQUIRE_COMPILER") and not found:
        raise pytest.UsageError("FARM_REQUIRE_COMPILER=1, but there is no C++ compiler")
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get("/".join(item.path.parts[-2:]), len(order)))
    for item in items:
        if item.get_closest_marker("network_namespaces") or item.get_closest_marker("browser"):
            item.add_marker("slow")


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

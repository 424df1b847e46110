"""1 means a regression and nothing else: what nobody foresaw ends with 70, a sentence and a log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from farm import log
from farm.__main__ import OURS, main
from farm.commands import suites

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "error",
    [
        TypeError("no such\nkeyword"),
        OSError(28, "No space left on device"),
        KeyError(),
        MemoryError(),
    ],
)
def test_an_unforeseen_error_ends_with_70_one_sentence_and_a_log(monkeypatch, capsys, error):
    def fail(_):
        raise error

    monkeypatch.setattr(suites, "main", fail)
    assert main(["suites"]) == OURS == 70
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert type(error).__name__ in told
    assert "report" in told
    assert str(log.FILE) in told
    assert "Traceback" in log.FILE.expanduser().read_text()


def test_an_error_of_ours_is_told_where_the_home_takes_no_log(monkeypatch, capsys, home):
    (home / ".cache").write_text("a file where a folder is needed")

    def fail(_):
        raise RuntimeError

    monkeypatch.setattr(suites, "main", fail)
    assert main(["suites"]) == OURS
    assert "RuntimeError" in capsys.readouterr().err


def test_a_broken_installation_is_no_regression(home):
    (home / "sqlalchemy").mkdir()
    (home / "sqlalchemy" / "__init__.py").write_text("raise ImportError('half installed')")
    path = os.pathsep.join([str(home), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-m", "farm", "suites"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == OURS
    assert "half installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_farm_alone_shows_its_commands(capsys):
    assert main([]) == 2
    assert "nightly" in capsys.readouterr().err

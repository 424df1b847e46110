"""How ``make test`` spreads tests over processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FILES = ("tests/judge/test_suspects.py", "tests/report/test_report.py")


@pytest.mark.slow
def test_the_tests_of_a_file_share_a_process_and_files_do_not(monkeypatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # of who runs the tests: -q undoes -v
    command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    ran = set(re.findall(r"^\[(gw\d)\].* PASSED (\S+?)::", done.stdout, re.MULTILINE))
    assert {file for _, file in ran} == set(FILES)
    assert len({process for process, _ in ran}) == len(ran) == 2

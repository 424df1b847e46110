"""The table of real machines' troubles names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = re.findall(
    r"\| (\S+\.py)::(test_\w+) \|$", (TESTS / "hosts" / "cases.md").read_text(), re.MULTILINE
)


def test_each_case_has_a_test_that_is_there():
    assert len(ROWS) > 35
    missing = [
        (file, name) for file, name in ROWS if f"def {name}(" not in (TESTS / file).read_text()
    ]
    assert missing == []

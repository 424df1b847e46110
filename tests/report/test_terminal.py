"""A command on a terminal of its own: what the bench keeps of what a user sees."""

import os
import sys

from farm.bench.terminal import lines, run

PROGRAM = """
import os, sys, time
print(os.get_terminal_size(2).columns, sys.stderr.isatty(), sys.stdout.isatty(), file=sys.stderr)
print("the result")
sys.exit(4)
"""


def test_a_command_has_a_terminal_of_100_columns_and_its_results_apart(tmp_path):
    shown = run([sys.executable, "-c", PROGRAM], tmp_path, os.environ)
    assert (shown.code, shown.output) == (4, "the result\n")
    assert shown.terminal == "100 True False\n\nthe result\n"
    assert list(tmp_path.iterdir()) == []


def test_a_live_line_stands_once_for_each_thing_that_it_said():
    live = "\x1b[2K⠋ measuring 0:00:01\r\x1b[2K⠙ measuring 0:00:02\r\n"
    said = f"{live}local: 3.2 s\r\n⠙ measuring 0:00:03"
    assert lines(said) == ["⠋ measuring 0:00:01", "local: 3.2 s", "⠙ measuring 0:00:03"]

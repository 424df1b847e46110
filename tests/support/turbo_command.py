"""The commands of turbo-kv, run in the process of a test."""

import pytest

from worker.turbo.serving import commands


def turbo(*arguments):
    commands.main(list(arguments))


def refused(capsys, *arguments):
    """Run a command that must end before anything is computed; returns what it says."""
    with pytest.raises(SystemExit) as ended:
        turbo(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err

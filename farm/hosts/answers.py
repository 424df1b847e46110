"""What a host answers to a program of ours, checked: JSON on its output, or a HostError."""

from __future__ import annotations

import json
from typing import Any

from farm.errors import HostError
from farm.hosts.said import telling
from farm.hosts.ssh.channel import Outcome

QUICK, SLOW = 60.0, 1800.0  # seconds without a word: for a look, for an installation
SHOWN = 80  # characters of what is no answer


def answer(host: str, program: str, done: Outcome) -> dict[str, Any]:
    """Return the JSON object that a program has printed; raises HostError if it is none."""
    succeeded(host, program, done)
    try:
        return dict(json.loads(done.output))
    except (TypeError, ValueError, RecursionError) as error:
        said = telling(done.output)[:SHOWN] or "nothing"
        raise HostError(
            f"host {host!r}: {program}: answers what is no answer ({said}); see what runs there "
            "under that name"
        ) from error


def succeeded(host: str, program: str, done: Outcome) -> None:
    """Raise HostError, with what it said, if a program has failed."""
    if done.status != 0:
        why = telling(done.errors) or telling(done.output) or f"status {done.status}"
        raise HostError(
            f"host {host!r}: {program}: {why}; see 'python' in the inventory and the space on the "
            "disk"
        )

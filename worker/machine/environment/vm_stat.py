"""vm_stat: free memory, the compressor and swap traffic."""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

PAGE = re.compile(r"\(page size of (\d{1,9}) bytes\)")
LINE = re.compile(r'^"?([A-Z][\w -]*?)"?:\s+(\d{1,15})\.\s*$', re.MULTILINE)
AMOUNTS = {"Pages free": "memory_free", "Pages occupied by compressor": "memory_compressor"}
COUNTS = {"Swapins": "swap_ins", "Swapouts": "swap_outs"}


def parse(output: str) -> Facts:
    """Read pages as bytes, and swap traffic in pages since the start of the system."""
    page = PAGE.search(output)
    if page is None:
        raise UnreadableError("no page size")
    counts = {name: int(count) for name, count in LINE.findall(output)}
    facts: Facts = {
        name: counts[key] * int(page[1]) for key, name in AMOUNTS.items() if key in counts
    }
    return facts | {name: counts[key] for key, name in COUNTS.items() if key in counts}


SOURCES = (Source(Command(("vm_stat",)), parse, (*AMOUNTS.values(), *COUNTS.values())),)

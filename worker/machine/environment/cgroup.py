"""Control groups of Linux: how much memory and processor this process may use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from worker.machine.environment.source import Facts, Output, Source, UnreadableError

ROOT = Path("/sys/fs/cgroup")
GROUP = re.compile(r"^\d+:([\w,=]*):(/.*)$", re.MULTILINE)
# Version 1 writes the largest page-aligned number for no limit.
NO_LIMIT = 2**62
# Version 1 has its period in a second file; this is the kernel's default.
PERIOD = 100_000


@dataclass(frozen=True)
class GroupFile:
    """A file of this process's control group, named for version 2 and for version 1.

    A container that sees only its own part of the tree finds it at the root.
    """

    unified: str
    controller: str
    legacy: str

    def __str__(self) -> str:
        return f"cgroup {self.unified}"

    def read(self) -> Output:
        try:
            groups = dict(GROUP.findall(Path("/proc/self/cgroup").read_text()))
        except OSError as error:
            return Output(missing=f"cannot read /proc/self/cgroup: {error.strerror}")
        found = [path for path in self.candidates(groups) if path.is_file()]
        return Output(found[0].read_text()) if found else Output(missing="no such control group")

    def candidates(self, groups: dict[str, str]) -> tuple[Path, ...]:
        legacy = ROOT / self.controller
        return (
            ROOT / groups.get("", "/").lstrip("/") / self.unified,
            ROOT / self.unified,
            legacy / groups.get(self.controller, "/").lstrip("/") / self.legacy,
            legacy / self.legacy,
        )


def parse_memory(output: str) -> Facts:
    """Read memory.max or memory.limit_in_bytes: bytes, or "none"."""
    limit = re.fullmatch(r"max|[0-9]{1,20}", output.strip())
    if limit is None:
        raise UnreadableError("not an amount of memory")
    unlimited = limit[0] == "max" or int(limit[0]) >= NO_LIMIT
    return {"memory_limit": "none" if unlimited else int(limit[0])}


def parse_cpu(output: str) -> Facts:
    """Read cpu.max (quota and period in microseconds) or cpu.cfs_quota_us: cores, or "none"."""
    limit = re.fullmatch(r"(max|-1|[0-9]{1,18})(?: ([1-9][0-9]{0,17}))?", output.strip())
    if limit is None:
        raise UnreadableError("not a quota")
    if limit[1] in {"max", "-1"}:
        return {"cpu_limit": "none"}
    return {"cpu_limit": int(limit[1]) / int(limit[2] or PERIOD)}


SOURCES = (
    Source(
        GroupFile("memory.max", "memory", "memory.limit_in_bytes"), parse_memory, ("memory_limit",)
    ),
    Source(GroupFile("cpu.max", "cpu", "cpu.cfs_quota_us"), parse_cpu, ("cpu_limit",)),
)

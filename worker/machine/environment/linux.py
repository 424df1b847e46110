"""Linux: processor, memory, pressure and frequency governor, from /proc and /sys."""

from __future__ import annotations

import re

from worker.machine.environment.source import Facts, File, Source, UnreadableError

FIELD = re.compile(r"^([^\s:][^:\n]*?)\s*:\s*(\S.*?)\s*$", re.MULTILINE)
CORE = re.compile(r"^physical id\s*: (\d+)$.*?^core id\s*: (\d+)$", re.MULTILINE | re.DOTALL)
KILOBYTES = re.compile(r"^(\w+):\s+(\d{1,15}) kB$", re.MULTILINE)
AMOUNTS = {
    "MemTotal": "memory",
    "MemAvailable": "memory_available",
    "SwapTotal": "swap_total",
    "SwapFree": "swap_free",
}
TRAFFIC = {"pswpin": "swap_ins", "pswpout": "swap_outs", "oom_kill": "memory_kills"}
STALL = re.compile(r"^some avg10=.* total=(\d{1,18})$", re.MULTILINE)
GOVERNORS = {"performance", "powersave", "ondemand", "conservative", "schedutil", "userspace"}


def parse_cpuinfo(output: str) -> Facts:
    fields = FIELD.findall(output)
    chips = {value for key, value in fields if key == "model name"}
    if len(chips) != 1:
        raise UnreadableError("not one model of processor")
    cores = set(CORE.findall(output))
    facts: Facts = {"chip": chips.pop()}
    return facts | ({"cores": len(cores)} if cores else {})


def parse_meminfo(output: str) -> Facts:
    """Read amounts as bytes."""
    amounts = {key: int(count) * 1024 for key, count in KILOBYTES.findall(output)}
    if "MemTotal" not in amounts:
        raise UnreadableError("no total memory")
    facts: Facts = {name: amounts[key] for key, name in AMOUNTS.items() if key in amounts}
    total, free = facts.get("swap_total"), facts.pop("swap_free", None)
    if isinstance(total, int) and isinstance(free, int) and free <= total:
        facts["swap_used"] = total - free
    return facts


def parse_release(output: str) -> Facts:
    fields = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]+)"?$', output, re.MULTILINE))
    if "ID" not in fields:
        raise UnreadableError("no ID")
    return {"os": fields["ID"]} | (
        {"os_version": fields["VERSION_ID"]} if "VERSION_ID" in fields else {}
    )


def parse_kernel(output: str) -> Facts:
    if not re.match(r"^Linux version \S+ ", output):
        raise UnreadableError("not a Linux version")
    return {"os_build": output.split()[2]}


def parse_vmstat(output: str) -> Facts:
    counts = dict(re.findall(r"^(\w+) (\d{1,18})$", output, re.MULTILINE))
    if "pgfault" not in counts:
        raise UnreadableError("not /proc/vmstat")
    return {name: int(counts[key]) for key, name in TRAFFIC.items() if key in counts}


def parse_uptime(output: str) -> Facts:
    seconds = re.match(r"^(\d{1,12}\.\d{1,9}) \d+\.\d+\s*$", output)
    if seconds is None:
        raise UnreadableError("not two numbers")
    return {"uptime": float(seconds[1])}


def parse_governor(output: str) -> Facts:
    if output.strip() not in GOVERNORS:
        raise UnreadableError("not a known governor")
    return {"governor": output.strip()}


def stall(resource: str) -> Source:
    """Make the source of pressure stall information: seconds since the start of the system."""
    name = f"{resource}_stall"

    def parse(output: str) -> Facts:
        some = STALL.search(output)
        if some is None:
            raise UnreadableError("no pressure stall information")
        return {name: int(some[1]) / 1e6}

    return Source(File(f"/proc/pressure/{resource}"), parse, (name,))


SOURCES = (
    Source(File("/etc/os-release"), parse_release, ("os", "os_version")),
    Source(File("/proc/version"), parse_kernel, ("os_build",)),
    Source(File("/proc/cpuinfo"), parse_cpuinfo, ("chip", "cores")),
    Source(
        File("/proc/meminfo"),
        parse_meminfo,
        ("memory", "memory_available", "swap_total", "swap_used"),
    ),
    Source(File("/proc/vmstat"), parse_vmstat, tuple(TRAFFIC.values())),
    Source(File("/proc/uptime"), parse_uptime, ("uptime",)),
    Source(
        File("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        parse_governor,
        ("governor",),
    ),
    *map(stall, ("cpu", "memory", "io")),
)

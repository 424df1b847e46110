"""What is wrong with a host, and the command that fixes each problem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from worker.machine.environment.processes import THROTTLED_PRIORITY
from worker.machine.environment.settings import FIREWALL
from worker.machine.environment.source import Facts
from worker.machine.limits import GPU_IDLE, OTHERS_CORES, OTHERS_SHARE
from worker.record import Environment, Fact


@dataclass(frozen=True)
class Problem:
    """One thing to repair; commands with sudo are shown, never run.

    ``severity`` is "invalid" where jobs would not count until it is repaired, else "risk".
    """

    fact: str
    severity: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Rule:
    """A fact that is wrong if it is one of ``wrong``, or not ``right`` where that is given.

    An unknown fact breaks no rule.
    """

    fact: str
    severity: str
    message: str
    remedy: str
    wrong: tuple[Fact, ...] = (True,)
    right: Fact | None = None

    def is_broken(self, value: Fact) -> bool:
        return value in self.wrong if self.right is None else value != self.right


RULES = (
    Rule("power_source", "invalid", "runs on {} power", "plug it in", wrong=("battery", "ups")),
    Rule(
        "power_mode",
        "invalid",
        "is in low power mode",
        "sudo pmset -a lowpowermode 0",
        wrong=("low",),
    ),
    Rule(
        "thermal_level",
        "invalid",
        "thermal level is {}",
        "let it cool, free its vents; a fanless Mac may need minutes between cells",
        right="nominal",
    ),
    Rule(
        "memory_pressure",
        "invalid",
        "memory pressure is {}",
        "quit what uses memory, or take a smaller model; see: top -o mem",
        right="normal",
    ),
    Rule(
        "mlx_device",
        "invalid",
        "is a virtual machine",
        "measure on a real Mac",
        wrong=("Apple Paravirtual device",),
    ),
    Rule(
        "spawn_type",
        "invalid",
        "launchd starts the worker as {}",
        "install the service of: python -m worker.machine.environment --launchd COMMAND...",
        right="interactive",
    ),
    Rule(
        "time_machine",
        "risk",
        "a Time Machine backup is running",
        "tmutil stopbackup; sudo tmutil disable",
    ),
    Rule("spotlight", "risk", "Spotlight indexes the start volume", "sudo mdutil -a -i off"),
    Rule(
        "filevault",
        "risk",
        "FileVault stops an unattended boot",
        "restart with: sudo fdesetup authrestart; or: sudo fdesetup disable",
    ),
    Rule(
        "firewall",
        "risk",
        "the firewall may block Ray",
        f'sudo {FIREWALL} --add "$(which python3)"',
    ),
    Rule(
        "firewall_blocks_all",
        "risk",
        "the firewall refuses every connection, so Ray cannot work",
        f"sudo {FIREWALL} --setblockall off; or take the engine ssh",
    ),
    Rule(
        "wired_limit",
        "risk",
        "the GPU memory limit was set by hand to {} bytes",
        "sudo sysctl iogpu.wired_limit_mb=0",
        right=0,
    ),
    Rule(
        "governor",
        "risk",
        "the frequency governor is {}",
        "sudo cpupower frequency-set -g performance",
        right="performance",
    ),
)

#: Bytes that packages, a build and some records need.
LEAST_DISK = 5e9
#: The share of all cores that a load may keep busy before a run.
BUSY_SHARE = 0.75

#: Facts that every Mac should give, and what gives them.
NEEDED = {
    "gpu_clock": ("risk", "a falling GPU clock goes unseen", "brew install macmon"),
    "power_mode": ("risk", "the power mode is unknown", "send us the bundle of: farm doctor"),
    "thermal_level": ("risk", "the thermal level is unknown", "send us the bundle of: farm doctor"),
    "nominal_bandwidth": ("risk", "the chip is not in the table", "add it to chips.py"),
    "mlx": ("invalid", "MLX is not installed", "pip install mlx"),
    "mlx_lm": ("invalid", "mlx-lm is not installed", "pip install mlx-lm"),
}


def problems(environment: Environment) -> tuple[Problem, ...]:
    """Judge a host by its facts: what is wrong, what may go wrong, and what nobody knows."""
    facts = environment.facts
    found = [
        Problem(rule.fact, rule.severity, rule.message.format(facts[rule.fact]), rule.remedy)
        for rule in RULES
        if rule.fact in facts and rule.is_broken(facts[rule.fact])
    ]
    return (*found, *_of_load(facts), *_of_macs(facts), *_unknown(environment))


def of_disk(free: int) -> Iterator[Problem]:
    """Find that too few bytes are free for packages, a build and records."""
    if free < LEAST_DISK:
        left = f"only {free / 1e9:.1f} GB are free on the disk"
        yield Problem("disk_free", "risk", left, "delete what is not needed; see: df -h ~")


def _of_load(facts: Facts) -> Iterator[Problem]:
    """Find a disk that is full, and whoever else keeps the machine busy."""
    free, cores, load = facts.get("disk_free"), facts.get("logical_cores"), facts.get("load")
    if isinstance(free, int):
        yield from of_disk(free)
    cores = cores if isinstance(cores, int) else 1
    used, who = facts.get("busiest_process_cpu"), facts.get("busiest_process")
    if isinstance(used, float) and used > max(OTHERS_CORES, OTHERS_SHARE * cores):
        yield Problem("busiest_process", "risk", f"{who} uses {used:.1f} cores", f"quit {who}")
    if isinstance(load, float) and load > BUSY_SHARE * cores:
        busy = f"is busy: a load of {load:.1f} on {cores} cores"
        yield Problem("load", "risk", busy, "wait, or quit what works there; see: top -o cpu")
    utilization = facts.get("gpu_utilization")
    if isinstance(utilization, float) and utilization > GPU_IDLE:
        busy = f"the GPU is used to {utilization:.0%} already"
        yield Problem("gpu_utilization", "risk", busy, "quit what draws or computes on it")


def _of_macs(facts: Facts) -> Iterator[Problem]:
    if facts.get("os") != "macOS":
        return
    priority = facts.get("priority")
    if isinstance(priority, int) and priority <= THROTTLED_PRIORITY:
        yield Problem(
            "priority",
            "invalid",
            f"the worker is throttled to priority {priority}",
            "start it by SSH, or by launchd with ProcessType Interactive",
        )
    if "battery_charge" in facts and not facts.get("sleep_disabled", False):
        yield Problem(
            "sleep_disabled",
            "risk",
            "sleeps when its lid closes",
            "sudo pmset -a disablesleep 1",
        )
    if facts.get("high_power_capable") is True and facts.get("power_mode") == "automatic":
        yield Problem(
            "power_mode",
            "risk",
            "could run in high power mode",
            "sudo pmset -a lowpowermode 2",
        )


def _unknown(environment: Environment) -> Iterator[Problem]:
    if environment.facts.get("os") != "macOS":
        return
    for fact, (severity, message, remedy) in NEEDED.items():
        if fact not in environment.facts:
            yield Problem(fact, severity, message, remedy)

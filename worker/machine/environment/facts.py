"""Every fact by name: its unit, what it means, and which figures can be true at all.

Meters that fail say nothing of it: they were seen to give 0 W, 40,089 W and 5 degrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.record import Fact

Range = tuple[float, float]

COUNT: Range = (1, 1e5)
CORES: Range = (0, 1e5)
RATIO: Range = (0, 1)
PER_CENT: Range = (0, 100)
SECONDS: Range = (0, 1e12)
#: Bytes of what is always there, and of what may be empty.
AMOUNT: Range = (2**20, 2**50)
PART: Range = (0, 2**50)


@dataclass(frozen=True)
class Meaning:
    """``unit`` is empty for names, yes or no, and plain numbers.

    A number below or above ``possible`` is a broken source's. Where that does not begin with 0, a
    zero says that there is no such sensor.
    """

    unit: str
    text: str
    possible: Range | None = None


FACTS = {
    "battery_charge": Meaning("%", "charge of the battery", PER_CENT),
    "battery_state": Meaning("", "charging, discharging, AC attached, ..."),
    "busiest_process": Meaning("", "the process that uses most processor beside this one"),
    "busiest_process_cpu": Meaning("cores", "what it uses", CORES),
    "chip": Meaning("", "the processor's name"),
    "chip_power": Meaning("W", "power of processor, GPU and neural engine", (1e-3, 600)),
    "clock": Meaning("s", "wall clock, since 1970", (1.5e9, 4.1e9)),
    "clock_resolution": Meaning("s", "resolution of the clock that times trials", (1e-12, 1)),
    "clusters": Meaning("", "clusters of cores by the chip's own names"),
    "context": Meaning("", "who started the worker: ssh, launchd, application"),
    "cores": Meaning("", "physical cores", COUNT),
    "cpu_limit": Meaning("cores", 'limit of the control group, or "none"', (1e-3, 1e4)),
    "cpu_stall": Meaning("s", "time that some task waited for a processor, since boot", SECONDS),
    "device": Meaning("", "chip, GPU cores, memory"),
    "disk_free": Meaning("bytes", "space left on the disk of the home folder", PART),
    "display_sleep_prevented": Meaning("", "an assertion keeps the display awake"),
    "filevault": Meaning("", "disk encryption, which stops an unattended boot"),
    "firewall": Meaning("", "the application firewall is on"),
    "firewall_blocks_all": Meaning("", "it refuses every connection from outside"),
    "governor": Meaning("", "frequency governor of the first processor"),
    "gpu": Meaning("", "name of the GPU"),
    "gpu_active_ratio": Meaning("", "share of time in which the GPU was active, 0 to 1", RATIO),
    "gpu_clock": Meaning("MHz", "clock of the GPU while active", (50, 5000)),
    "gpu_cores": Meaning("", "cores of an Apple GPU", COUNT),
    "gpu_driver": Meaning("", "version of the driver"),
    "gpu_generation": Meaning("", "generation of an Apple GPU, as in applegpu_g17s", (1, 99)),
    "gpu_memory": Meaning("bytes", "memory of a discrete GPU", AMOUNT),
    "gpu_memory_used": Meaning("bytes", "memory that the GPU uses", PART),
    "gpu_power": Meaning("W", "power of the GPU", (1e-6, 2000)),
    "gpu_state": Meaning("", "performance state of an NVIDIA GPU"),
    "gpu_temperature": Meaning("Celsius", "temperature of the GPU", (10, 125)),
    "gpu_utilization": Meaning("", "share of time in which the GPU worked, 0 to 1", RATIO),
    "gpus": Meaning("", "NVIDIA GPUs", COUNT),
    "high_power_capable": Meaning("", "the Mac has a High Power mode"),
    "idle_sleep_prevented": Meaning("", "an assertion keeps the system from idle sleep"),
    "io_stall": Meaning("s", "time that some task waited for input or output, since boot", SECONDS),
    "kernel": Meaning("", "release of the kernel"),
    "load": Meaning("", "load average of one minute", (0, 1e6)),
    "logical_cores": Meaning("", "cores as the system counts them", COUNT),
    "machine": Meaning("", "instruction set"),
    "machine_model": Meaning("", "the maker's identifier, e.g. Mac14,12"),
    "machine_name": Meaning("", "the maker's name, e.g. Mac mini"),
    "max_buffer": Meaning("bytes", "largest buffer of MLX", AMOUNT),
    "memory": Meaning("bytes", "main memory", AMOUNT),
    "memory_available": Meaning("bytes", "memory that can be had without swapping", PART),
    "memory_compressor": Meaning("bytes", "memory that the compressor occupies", PART),
    "memory_free": Meaning("bytes", "memory that nobody uses", PART),
    "memory_kills": Meaning("", "processes killed for memory, since boot"),
    "memory_limit": Meaning("bytes", 'limit of the control group, or "none"', AMOUNT),
    "memory_pressure": Meaning("", "normal, warning or critical"),
    "memory_stall": Meaning("s", "time that some task waited for memory, since boot", SECONDS),
    "mlx": Meaning("", "version"),
    "mlx_architecture": Meaning("", "architecture, as MLX names it"),
    "mlx_device": Meaning("", "device, as MLX names it"),
    "mlx_lm": Meaning("", "version"),
    "neural_accelerators": Meaning("", "MLX uses the GPU's matrix units"),
    "nice": Meaning("", "this process's nice value", (-20, 20)),
    "nominal_bandwidth": Meaning("bytes/s", "memory bandwidth by specification", (1e9, 1e14)),
    "numpy": Meaning("", "version"),
    "os": Meaning("", "operating system or distribution"),
    "os_build": Meaning("", "build of macOS, release of the Linux kernel"),
    "os_version": Meaning("", "its version"),
    "power_mode": Meaning("", "low, automatic or high: the mode on the power source in use"),
    "power_mode_on_ac": Meaning("", "power mode set for mains"),
    "power_mode_on_battery": Meaning("", "power mode set for the battery"),
    "power_mode_on_ups": Meaning("", "power mode set for an uninterruptible power supply"),
    "power_source": Meaning("", "ac, battery or ups"),
    "priority": Meaning(
        "", "this process's scheduling priority; macOS: 31 normal, 20 throttled", (-200, 200)
    ),
    "python": Meaning("", "version"),
    "python_minor": Meaning("", "its first two numbers"),
    "sleep_disabled": Meaning("", "even a closed lid does not put the Mac to sleep"),
    "sleep_prevented_by": Meaning("", "processes that keep the Mac awake"),
    "spawn_type": Meaning("", "how launchd runs the worker: interactive, or throttled"),
    "spotlight": Meaning("", "indexing of the start volume is on"),
    "spotlight_cpu": Meaning("cores", "processor that indexing uses", CORES),
    "swap_ins": Meaning("pages", "read back from swap since boot"),
    "swap_outs": Meaning("pages", "written to swap since boot"),
    "swap_total": Meaning("bytes", "swap space", PART),
    "swap_used": Meaning("bytes", "swap in use", PART),
    "system_power": Meaning("W", "power of the whole machine", (0.1, 1500)),
    "system_sleep_prevented": Meaning("", "an assertion keeps the system from sleep"),
    "thermal_level": Meaning("", "nominal (weak evidence), moderate, heavy, trapping, sleeping"),
    "thermal_warning": Meaning("", "what pmset recorded; says nothing on Apple Silicon"),
    "time_machine": Meaning("", "a backup is running"),
    "time_machine_cpu": Meaning("cores", "processor that a backup uses", CORES),
    "uptime": Meaning("s", "since boot", (1e-3, 1e10)),
    "wired_limit": Meaning("bytes", "limit of GPU memory set by hand; 0 is the default", PART),
    "working_set": Meaning("bytes", "GPU memory that MLX recommends at most", AMOUNT),
}

#: A part, its whole, and how often the whole the part may be: two sensors of power do not look at
#: the same moment.
PARTS = (
    ("gpu_power", "chip_power", 1.05),
    ("chip_power", "system_power", 1.25),
    ("swap_used", "swap_total", 1.0),
    ("memory_free", "memory", 1.0),
    ("memory_available", "memory", 1.0),
    ("memory_compressor", "memory", 1.0),
    ("gpu_memory_used", "gpu_memory", 1.0),
)


def possible(facts: Mapping[str, Fact]) -> tuple[dict[str, Fact], dict[str, str]]:
    """Return the facts that can be true, and for each of the others the reason."""
    doubts = dict(_doubts(facts))
    return {name: value for name, value in facts.items() if name not in doubts}, doubts


def _doubts(facts: Mapping[str, Fact]) -> Iterator[tuple[str, str]]:
    sound: dict[str, float] = {}
    for name, value in facts.items():
        meaning = FACTS[name]
        if isinstance(value, str | bool) or meaning.possible is None:
            continue
        lowest, highest = meaning.possible
        if lowest <= value <= highest:
            sound[name] = value
        else:
            told = f"{value:.6g} {meaning.unit}".strip()
            yield name, f"{told} cannot be (possible is {lowest:g} to {highest:g})"
    for part, whole, slack in PARTS:
        if part in sound and whole in sound and sound[part] > slack * sound[whole]:
            reason = f"{part} {sound[part]:.6g} is more than {whole} {sound[whole]:.6g}"
            yield from ((name, reason) for name in (part, whole))

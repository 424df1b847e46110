"""Run every environment parser over a folder of real macOS output and print what it understood.

    python -m worker.bench.environment_samples FOLDER

A sample file may hold the output of several commands or machines; it is cut at prompts, comments
and separators, and every part is read by the parser of the command that prints such output.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from worker.job import Build, Cell, Job
from worker.machine.environment import (
    RARE,
    SOURCES,
    interpreter,
    ioreg,
    launchd,
    macmon,
    mactop,
    mlx,
    notifyutil,
    pmset,
    powermetrics,
    probe,
    profiler,
    settings,
    sw_vers,
    sysctl,
    vm_stat,
)
from worker.machine.environment.bundle import Bundle, replay
from worker.machine.environment.source import Facts, Output, UnreadableError
from worker.record import Environment, Record

Parse = Callable[[str], Facts]
PARTS = re.compile(r"^(?:--|# .*|\$ .*)\n", re.MULTILINE)
PARSERS: tuple[tuple[str, Parse], ...] = (
    ("ioreg_", ioreg.parse),
    ("launchctl_", launchd.parse),
    ("macmon_", macmon.parse),
    ("mactop_", mactop.parse),
    ("mlx_device_info", mlx.parse),
    ("notifyutil_", notifyutil.parse),
    ("pmset_batt", pmset.parse_battery),
    ("pmset_cap", settings.parse_capabilities),
    ("pmset_custom", pmset.parse_custom),
    ("pmset_g_", pmset.parse_settings),
    ("pmset_therm", settings.parse_thermal_warning),
    ("powermetrics_", powermetrics.parse),
    ("spdisplays_", profiler.parse),
    ("sphardware_", profiler.parse),
    ("sw_vers", sw_vers.parse),
    ("sysctl_", sysctl.parse),
)
# The first word of a part tells the command where a file mixes them.
MIXED = {
    "vm.swapusage": sysctl.parse,
    "Mach": vm_stat.parse,
    "The": settings.parse_pressure,
}
MANY_WORDS = {"sysctl", "ioreg", "system_profiler", "notifyutil", "macmon", "memory_pressure"}
# Which part of which file stands for the output of a command, by the command's beginning.
LAPTOP = {
    "sw_vers": ("sw_vers.txt", 0),
    "sysctl": ("sysctl_m5max_perflevels.txt", 0),
    "ioreg": ("ioreg_ioaccelerator.txt", 1),
    "system_profiler": ("sphardware_m5max.json", 0),
    "pmset -g custom": ("pmset_custom_powermode_batt1_ac2.txt", 0),
    "pmset -g batt": ("pmset_batt_discharging.txt", 0),
    "pmset -g": ("pmset_g_highpower.txt", 0),
    "pmset -g cap": ("pmset_cap_highpower_macbook.txt", 0),
    "pmset -g therm": ("pmset_therm_m4air_under_load.txt", 0),
    "notifyutil": ("notifyutil_thermal.txt", 0),
    "macmon": ("macmon_pipe_v0.8_readme.json", 0),
    "vm_stat": ("memory_m4air_16gb_macos26.txt", 1),
    "memory_pressure": ("memory_m4air_16gb_macos26.txt", 2),
    "mx.device_info()": ("mlx_device_info.txt", 0),
}
NOT_OURS = ("llama_", "mlx_lm_benchmark")


def parts(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".jsonl":
        return text.splitlines()
    if path.name.startswith("ioreg"):
        return [f"+-o {part}" for part in text.split("+-o ")[1:]]
    return [part for part in PARTS.split(text) if part.strip()]


def parser_of(path: Path, part: str) -> Parse | None:
    for prefix, parse in PARSERS:
        if path.name.startswith(prefix):
            return parse
    return MIXED.get(part.split(maxsplit=1)[0].rstrip(":"))


def of_samples(folder: Path) -> Environment:
    """Put together a laptop of samples, mostly of an M5 Max: no one Mac printed them all."""
    outputs = {
        origin: Output(parts(folder / name)[index]) for origin, (name, index) in LAPTOP.items()
    }
    known = interpreter.probe()
    return replay(Bundle(system="Darwin", known=known, outputs=full_names(outputs)))


def full_names(outputs: dict[str, Output]) -> dict[str, Output]:
    origins = [str(source.origin) for source in (*SOURCES["Darwin"], *RARE["Darwin"])]
    return {
        origin: output
        for start, output in outputs.items()
        for origin in origins
        if origin == start or (start in MANY_WORDS and origin.startswith(start))
    }


def with_environment(environment: Environment) -> Record:
    job = Job(
        run="samples",
        host="sample",
        build=Build(hash="0" * 16),
        cell=Cell(benchmark="bandwidth"),
    )
    return Record(job=job, status="ok", started=0.0, environment=environment)


def main(folder: Path) -> None:
    understood = refused = 0
    for path in sorted(folder.iterdir()):
        for part in parts(path):
            parse = parser_of(path, part)
            if parse is None:
                reason = "no source of facts" if path.name.startswith(NOT_OURS) else "NO PARSER"
                print(f"{path.name}: {reason}")
                break
            try:
                print(f"{path.name}: {json.dumps(parse(part))}")
                understood += 1
            except UnreadableError as error:
                print(f"{path.name}: unknown, {error}: {part.strip()[:80]!r}")
                refused += 1
    print(f"\n{understood} parts understood, {refused} unknown with the reason, none raised")
    for name, environment in (("the samples", of_samples(folder)), ("this host", probe())):
        record = Record.model_validate_json(with_environment(environment).model_dump_json())
        known, unknown = record.environment.facts, record.environment.unknown
        print(
            f"record of {name}: {record.environment.device}: {len(known)} facts, "
            f"{len(unknown)} unknown, each with its reason"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Run every environment parser over a folder of real macOS output and print what it understood.

    python bench/environment_samples.py /work/shared/macos-samples

A sample file may hold the output of several commands or machines; it is cut at prompts, comments
and separators, and every part is read by the parser of the command that prints such output.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from worker.environment import (
    ioreg,
    launchd,
    macmon,
    mactop,
    mlx,
    notifyutil,
    pmset,
    powermetrics,
    profiler,
    settings,
    sw_vers,
    sysctl,
    vm_stat,
)
from worker.environment.source import Facts, UnreadableError

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


if __name__ == "__main__":
    main(Path(sys.argv[1]))

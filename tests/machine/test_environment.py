"""Every parser against golden output, arbitrary text, and hosts that answer badly."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.machine.environment import RARE, SOURCES, interpreter, probe
from worker.machine.environment.bundle import Bundle, collect, replay
from worker.machine.environment.chips import nominal
from worker.machine.environment.derived import COMPARABLE
from worker.machine.environment.facts import FACTS
from worker.machine.environment.mlx import Device
from worker.machine.environment.source import (
    Command,
    File,
    Output,
    Source,
    UnreadableError,
    gather,
    read_all,
    understand,
)
from worker.record import Environment

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "environment").glob("*.json"))
EVERY = tuple(dict.fromkeys((*SOURCES["Darwin"], *RARE["Darwin"], *SOURCES["Linux"])))
# What a parser may only say when the host said so: a wrong one of these hides a disturbance.
GOOD_NEWS = {
    "thermal_level": "nominal",
    "memory_pressure": "normal",
    "power_source": "ac",
    "power_mode_on_ac": "automatic",
    "power_mode_on_battery": "automatic",
}


def source_of(name: str) -> Source:
    exact = [source for source in EVERY if str(source.origin) == name]
    return (exact or [source for source in EVERY if str(source.origin).startswith(name)])[0]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_output_gives_exactly_its_facts(path):
    case = json.loads(path.read_text())
    facts, _ = understand(source_of(case["source"]), Output(case["output"]))
    assert facts == case["facts"]


def test_every_source_has_golden_output():
    covered = {source_of(json.loads(path.read_text())["source"]).origin for path in GOLDEN}
    rare_files = {"/etc/os-release", "/proc/version", "/proc/vmstat", "/proc/uptime"}
    stalls = {"/proc/pressure/cpu", "/proc/pressure/io"}
    left = {str(source.origin) for source in EVERY if source.origin not in covered}
    assert left == rare_files | stalls


def test_every_fact_has_a_meaning_and_a_source():
    derived = {"device", "nominal_bandwidth", "power_mode", "neural_accelerators"}
    given_by_sources = {name for source in EVERY for name in source.gives}
    known = interpreter.probe()
    assert given_by_sources | derived | known.facts.keys() | known.unknown.keys() == FACTS.keys()
    assert set(COMPARABLE) <= FACTS.keys()


LINES = sorted(
    {
        line
        for path in GOLDEN
        for line in json.loads(path.read_text())["output"].splitlines(keepends=True)
    }
)
TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(LINES), max_size=8).map("".join),
    st.lists(st.one_of(st.sampled_from(LINES), st.text(max_size=30)), max_size=6).map("".join),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["gpu_usage", "gpu_freq_mhz", "temp", "soc_metrics", "gpu_power"])
                | st.sampled_from(["SPDisplaysDataType", "sppci_cores", "architecture"]),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=8,
    ).map(json.dumps),
)


@pytest.mark.parametrize("source", EVERY, ids=lambda source: str(source.origin)[:40])
@settings(max_examples=120, deadline=None)
@given(text=TEXTS)
def test_arbitrary_output_gives_promised_facts_or_the_parsers_own_error(source, text):
    try:
        facts = source.parse(text)
    except UnreadableError:
        return
    Environment(facts=facts)
    assert facts.keys() <= FACTS.keys()
    assert not any(isinstance(value, float) and not 0 <= value < 1e300 for value in facts.values())


@pytest.mark.parametrize("source", EVERY, ids=lambda source: str(source.origin)[:40])
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300))
def test_noise_is_never_good_news(source, text):
    try:
        facts = source.parse(text)
    except UnreadableError:
        return
    assert not GOOD_NEWS.items() & facts.items()


# Where two keys disagree, an answer without one of them is good news.
BAD_NEWS = [
    case
    for case in (json.loads(path.read_text()) for path in GOLDEN if "disagree" not in path.stem)
    if GOOD_NEWS.keys() & set(source_of(case["source"]).gives)
    and not GOOD_NEWS.items() & case["facts"].items()
]


@settings(max_examples=400, deadline=None)
@given(case=st.sampled_from(BAD_NEWS), data=st.data())
def test_a_damaged_answer_never_turns_into_good_news(case, data):
    text = case["output"]
    lines = text.splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    inserted = data.draw(st.text(max_size=20)) + "\n"
    damaged = data.draw(
        st.sampled_from(
            [
                text[: data.draw(st.integers(0, len(text)))],
                "".join([*lines[:place], *lines[place + 1 :]]),
                "".join([*lines[:place], lines[place], *lines[place:]]),
                "".join([*lines[:place], inserted, *lines[place:]]),
                text.upper(),
                text.replace("\n", "\r\n"),
                text.translate(
                    str.maketrans("0123456789", "".join(chr(0x660 + n) for n in range(10)))
                ),
            ]
        )
    )
    try:
        facts = source_of(case["source"]).parse(damaged)
    except UnreadableError:
        return
    assert not GOOD_NEWS.items() & facts.items()


def test_a_missing_command_makes_its_facts_unknown_with_the_reason():
    source = Source(Command(("no-such-command-here",)), lambda output: {}, ("thermal_level",))
    environment = gather((source,), read_all((source,)))
    assert environment.facts == {}
    assert environment.unknown["thermal_level"] == (
        "no-such-command-here: cannot run: No such file or directory"
    )


def test_a_hanging_command_is_given_up_at_its_deadline():
    hang = Command((sys.executable, "-c", "import time; time.sleep(60)"), deadline=0.2)
    assert hang.read().missing == "no answer within 0.2 s"


def test_a_foreign_language_keeps_the_raw_text():
    source = source_of("pmset -g batt")
    outputs = {str(source.origin): Output("Strom kommt aus 'Netzteil'\n")}
    reason = gather((source,), outputs).unknown["power_source"]
    assert "Strom kommt aus 'Netzteil'" in reason


def test_output_of_a_failing_command_still_counts():
    partial = Command(("sh", "-c", "echo 'hw.model: Mac14,12'; echo unknown oid >&2; exit 1"))
    assert partial.read() == Output("hw.model: Mac14,12\n")


METER = {"meter": Output("a figure")}
LOWEST = {name: fact.possible[0] for name, fact in FACTS.items() if fact.possible}


@pytest.mark.parametrize(
    ("name", "zero"),
    [(name, lowest > 0) for name, lowest in LOWEST.items()],
)
def test_no_source_makes_a_fact_of_a_figure_that_cannot_be(name, zero):
    for figure in (math.inf, 1e300, -1e300, *([0] if zero else [])):
        environment = gather(
            (Source(File("meter"), lambda _, f=figure: {name: f}, (name,)),), METER
        )
        assert name not in environment.facts
        assert "cannot be" in environment.unknown[name]


def test_an_answer_that_is_old_by_its_own_clock_gives_no_facts():
    source = source_of("macmon pipe")
    line = (
        '{"gpu_freq_mhz": 900, "gpu_active_ratio": 0.5, "timestamp": "2026-07-13T02:28:40+00:00"}'
    )
    measured = datetime(2026, 7, 13, 2, 28, 40, tzinfo=UTC).timestamp()
    now, late = (understand(source, Output(line, at=measured + age)) for age in (0.2, 3600.0))
    assert now[0] == {"gpu_clock": 900.0, "gpu_active_ratio": 0.5}
    assert late[0] == {}
    assert "says how it was 3600 s before it was asked" in late[1]["gpu_clock"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mactop", '[{"timestamp": "2026-07-13T04:28:40+02:00", "soc_metrics": {}}]'),
        ("powermetrics", "*** Sampled system activity (Mon Jul 13 04:28:40 2026 +0200) (9ms) ***"),
        ("pmset -g assertions", "2026-07-13 04:28:40 +0200\nAssertion status system-wide:\n"),
    ],
)
def test_every_source_that_tells_the_time_is_held_to_it(name, text):
    said = source_of(name).time(text)
    assert said == datetime(2026, 7, 13, 2, 28, 40, tzinfo=UTC).timestamp()


def test_parts_that_are_larger_than_their_whole_are_unknown_across_sources():
    outputs = {"free": Output("free"), "all": Output("all")}
    sources = (
        Source(File("free"), lambda _: {"memory_free": 2**40}, ("memory_free",)),
        Source(File("all"), lambda _: {"memory": 2**34}, ("memory",)),
    )
    environment = gather(sources, outputs)
    assert environment.facts == {}
    assert "more than memory" in environment.unknown["memory_free"]


@pytest.mark.parametrize(
    "mlx",
    [
        SimpleNamespace(metal=SimpleNamespace(device_info=lambda: {"device_name": "Apple M2"})),
        SimpleNamespace(device_info=lambda: {"device_name": "Apple M2"}, metal=SimpleNamespace()),
    ],
)
def test_mlx_of_any_age_tells_its_device(monkeypatch, mlx):
    monkeypatch.setitem(sys.modules, "mlx.core", mlx)
    assert Device().read().text == "{'device_name': 'Apple M2'}"


def test_an_mlx_that_cannot_tell_leaves_the_other_facts(monkeypatch):
    def refuse():
        raise RuntimeError("[metal::load_device] No Metal device available.")

    monkeypatch.setitem(sys.modules, "mlx.core", SimpleNamespace(device_info=refuse))
    assert "No Metal device" in Device().read().missing
    monkeypatch.setitem(sys.modules, "mlx.core", SimpleNamespace(metal=SimpleNamespace()))
    assert Device().read().missing == "this mlx tells nothing of its device"


def test_tools_that_need_seconds_to_start_get_them():
    slow = [source.origin for source in RARE["Darwin"] if isinstance(source.origin, Command)]
    assert {origin.argv[0] for origin in slow if origin.deadline < 10} == {"launchctl"}


BUNDLES = sorted((Path(__file__).parents[1] / "golden" / "bundles").glob("*.json"))


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_a_bundle_is_understood_anywhere_as_on_its_host(path):
    case = json.loads(path.read_text())
    environment = replay(Bundle.model_validate(case["bundle"]))
    assert environment.facts == case["facts"]
    assert len(environment.facts) + len(environment.unknown) >= 30
    assert not environment.facts.keys() & environment.unknown.keys()


def changed(name: str, text: str) -> Environment:
    """Understand the bundled M5 Max laptop with another answer from one source."""
    (path,) = (path for path in BUNDLES if path.stem == "m5_max_laptop")
    bundle = Bundle.model_validate(json.loads(path.read_text())["bundle"])
    outputs = bundle.outputs | {name: Output(text)}
    return replay(bundle.model_copy(update={"outputs": outputs}))


def test_the_power_mode_is_that_of_the_power_source_in_use():
    assert changed("pmset -g batt", "Now drawing from 'AC Power'\n").facts["power_mode"] == "high"
    unplugged = changed("pmset -g batt", "Now drawing from 'Battery Power'\n")
    assert unplugged.facts["power_mode"] == "low"


def test_without_a_known_power_source_the_power_mode_is_unknown():
    environment = changed("pmset -g batt", "Now drawing from 'Solar Power'\n")
    assert "power_mode" not in environment.facts
    assert "power_mode" in environment.unknown


def test_neural_accelerators_need_a_new_enough_macos():
    version = "ProductName:\t\tmacOS\nProductVersion:\t\t26.1\nBuildVersion:\t\t25B78\n"
    assert changed("sw_vers", version).facts["neural_accelerators"] is False


def test_the_power_mode_decides_comparability_and_the_load_does_not():
    automatic = changed("pmset -g custom", "AC Power:\n powermode            0\n")
    same = changed("no such source", "")
    busy = same.model_copy(update={"facts": same.facts | {"load": 9.0}})
    assert same.comparison_key == busy.comparison_key
    assert same.comparison_key != automatic.comparison_key


@pytest.mark.parametrize(
    ("chip", "gpu_cores", "bandwidth"),
    [
        ("Apple M2 Pro", 16, 200),
        ("Apple M5 Max", 32, 460),
        ("Apple M5 Max", 40, 614),
        ("Apple M5 Max", 36, None),
        ("Apple M5 Ultra", 80, 1228),
        ("Apple M5", 8, 153.6),
        ("Apple M3", 8, 100),
        ("Apple M6", 12, 170),
        ("Apple A18 Pro", 5, 60),
        ("Apple M7", 12, None),
        ("Apple M5 Max", None, None),
    ],
)
def test_bandwidth_depends_on_chip_and_gpu_cores(chip, gpu_cores, bandwidth):
    found = nominal(chip, gpu_cores)
    assert (found and found.bandwidth) == bandwidth


def test_this_host_knows_at_least_thirty_facts_or_why_not():
    environment = probe()
    assert len(environment.facts) + len(environment.unknown) >= 30
    assert all(environment.unknown.values())
    assert set(environment.facts) | set(environment.unknown) <= FACTS.keys()
    assert "device" in environment.facts


def test_a_bundle_of_this_host_survives_its_file():
    bundle = collect()
    again = Bundle.model_validate_json(bundle.model_dump_json())
    assert replay(again) == replay(bundle)

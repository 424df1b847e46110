"""The doctor asks a host everything, tells what is wrong, and ends in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jobs
from farm.campaign import doctor
from farm.campaign.doctor import Patient
from farm.errors import HostError
from farm.hosts.ssh.channel import Outcome
from farm.plan import kernels
from farm.plan import suite as suites
from farm.report import doctor as report
from worker.job import Build, Order
from worker.models import REFERENCE
from worker.record import Failure

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "m5_max_laptop.json"
GOOD = {
    "codec_failures": [],
    "attention_failures": [],
    "fatal": [],
    "largest_error": {"portable": 0.001},
}
BUILD = Build(hash="ab" * 8)


class Mac:
    """A host that answers as a Mac would; ``changes`` are other answers by module."""

    def __init__(self, **changes: str | Exception) -> None:
        self.asked: list[str] = []
        self.changes = changes

    def __call__(self, module, arguments, deadline, stdin=b"") -> Outcome:
        module = module.rpartition(".")[2]
        self.asked.append(module)
        answer = self.changes.get(module) or getattr(self, module)(stdin)
        if isinstance(answer, Exception):
            raise answer
        return Outcome(0, answer, "Traceback\nImportError: no such thing", 0.0)

    def environment(self, stdin: bytes) -> str:
        return json.dumps(json.loads(BUNDLE.read_text())["bundle"])

    def canary(self, stdin: bytes) -> str:
        return json.dumps([{"product": 0.002, "stream": 0.003}] * 5)

    def turbo(self, stdin: bytes) -> str:
        return json.dumps(GOOD)

    def variants(self, stdin: bytes) -> str:
        return json.dumps(
            [{"name": f"k{i}", "error": 1e-3} for i, _ in enumerate(json.loads(stdin))]
        )

    def single(self, stdin: bytes) -> str:
        return jobs.record(Order.model_validate_json(stdin).job).model_dump_json()


def seen(mac: Mac, clock: Callable[[], float] = lambda: 0.0) -> doctor.Chart:
    patient = Patient("mini", mac, ".turbofarm", BUILD, "doctor-1")
    return doctor.examine(patient, lambda name: None, clock=clock)


def states(chart: doctor.Chart) -> dict[str, str]:
    return {finding.name: finding.state for finding in chart.findings}


def test_a_good_mac_is_well_and_everything_is_kept():
    chart = seen(Mac())
    assert set(states(chart).values()) == {"well"}
    assert len(chart.findings) == 8
    assert len(chart.kernels) == len(kernels.needed()) > 20
    assert [record.job.cell.benchmark for record in chart.records] == [
        *("decode", "decode", "prefill", "prefill")
    ]
    assert {record.job.host for record in chart.records} == {"host"}
    rows = [(one.name, one.state, one.said, one.remedy) for one in chart.findings]
    assert report.sentence("Apple M5 Max", rows) == (
        "Apple M5 Max is well: it computes what it must, and its figures count."
    )


def test_each_failure_is_a_finding_and_the_next_check_goes_on():
    record = jobs.record(status="failed", failure=Failure(kind="crash", message="ended by SIGSEGV"))
    mac = Mac(
        environment="no json",
        canary=HostError("host 'mini': connection lost"),
        turbo=json.dumps(GOOD | {"codec_failures": ["codec/64/4"], "fatal": ["codec/64/4"]}),
        variants=json.dumps([{"name": "K4V4", "problem": "differs by 0.3, allowed is 0.004"}]),
        single=record.model_dump_json(),
    )
    chart = seen(mac)
    assert set(states(chart).values()) == {"wrong"}
    said = " ".join(finding.said for finding in chart.findings)
    for words in ("ImportError", "connection lost", "codec/64/4", "differs by 0.3", "SIGSEGV"):
        assert words in said
    assert all(finding.remedy for finding in chart.findings)
    assert len(chart.records) == 4


def test_figures_that_would_not_count_leave_the_host_right():
    kernel = GOOD | {"attention_failures": ["fused attention/64/4/4/1"]}
    record = jobs.record(invalid=("in a virtual machine",))
    chart = seen(Mac(turbo=json.dumps(kernel), single=record.model_dump_json()))
    assert states(chart)["golden vectors"] == "doubtful"
    assert states(chart)["decode@128 fp16"] == "doubtful"
    rows = [(one.name, one.state, one.said, one.remedy) for one in chart.findings]
    assert "its figures would not count now: 5 of 8" in report.sentence("Apple M5 Max", rows)


def test_a_gpu_on_which_no_kernel_serves_is_not_well():
    answer = json.dumps([{"name": "K4V4", "compared": False}])
    assert states(seen(Mac(variants=answer)))["kernels of the suites"] == "wrong"


def test_a_device_without_a_gpu_skips_the_kernels():
    assert states(seen(Mac(variants="[]")))["kernels of the suites"] == "skipped"


def test_after_five_minutes_nothing_more_is_begun():
    hour = iter(range(0, 100_000, 100))
    mac = Mac()
    chart = seen(mac, clock=lambda: float(next(hour)))
    assert "single" not in mac.asked
    assert states(chart)["prefill@256 fp16"] == "skipped"
    assert "no time was left of the 5 minutes" in chart.findings[-1].said


def test_what_a_host_does_not_tell_is_listed_by_reason():
    no_tool = "nvidia-smi: cannot run: No such file or directory"
    told = report.unknown(
        {"gpu": no_tool, "gpus": no_tool, "gpu_clock": no_tool, "governor": "x " * 90}
    )
    lines = told.splitlines()
    assert lines[1].split("  ")[0] == "gpu, gpus and 1 more"
    assert no_tool in lines[1]
    assert len(lines[2]) < 140
    assert lines[-1] == "Figures count without these facts."
    assert report.unknown({}) == ""


def test_every_model_of_a_suite_with_a_turbo_cache_has_its_heads_in_the_table():
    models = {
        cell.model
        for name in suites.names()
        for cell in suites.cells(suites.load(name))
        if cell.cache and cell.cache.name == "turbo" and cell.model
    }
    assert {model for model in models if kernels.heads(model) is None} == set()


def test_the_heads_in_the_table_are_those_of_the_model_that_is_at_hand():
    said = json.loads((REFERENCE / "config.json").read_text())
    queries, keys = said["num_attention_heads"], said["num_key_value_heads"]
    assert kernels.heads("reference") == (said["hidden_size"] // queries, queries, keys)

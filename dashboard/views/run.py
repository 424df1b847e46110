"""One run, and one record of it: environment, raw samples, log, how to repeat it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import choices, tables
from dashboard.analysis import comparability, figures, naming, trials, validity
from dashboard.analysis.trials import Trial
from dashboard.charts import marks
from dashboard.charts.drawing import draw
from dashboard.database import ask
from dashboard.plain import linked, plain
from db import queries
from db.queries import Brief
from worker.job import Job
from worker.machine.environment.facts import FACTS
from worker.record import Environment, Record

SAMPLES, ENVIRONMENT, REPEAT = PARTS = ("Samples", "Environment", "Repeat it")
LOCALLY = "python -m worker --builds .farm/builds"
# Where bringing a host up has put everything; of several versions the newest is taken.
REMOTELY = (
    "ssh {address} 'cd .turbofarm && PYTHONPATH=$(ls -td $PWD/harness/*/ | head -1) "
    "$(ls -t environments/*/bin/python | head -1) -m worker --builds builds'"
)
HEAT = ("gpu_clock", "gpu_temperature", "thermal_level", "gpu_power")
#: SQLite counts no further.
LAST = 2**63 - 1


def page() -> None:
    """Show one record by its number, and the list of a run's records."""
    st.title("Run")
    top = st.container()
    known = ask(queries.runs)
    if not known:
        st.info("No run yet. Start one with `farm run`.", icon=":material/info:")
        return
    told = choices.words("Record", "record", hint="number of a record, or open one below")
    record = _asked(told)
    if record:
        top.markdown(f"### {plain(_headline(int(told), record), 600)}")
        _show_record(int(told), record)
    st.divider()
    names = [run.id for run in known]
    start = names.index(record.job.run) if record and record.job.run in names else 0
    chosen = choices.one("Run", names, "run", start=start)
    summary = next(run for run in known if run.id == chosen)
    briefs = ask(queries.run_records, chosen)
    spoiled = sum(brief.spoiled and brief.status != "failed" for brief in briefs)
    whose = f", measured by {plain(summary.origin)}" if summary.origin else ""
    said = (
        f"Suite {plain(summary.suite)}{whose}, started {naming.clock(summary.started)}: "
        f"{summary.records} of {summary.jobs} jobs have records, {summary.failed} failed, "
        f"{spoiled} with figures that do not count."
    )
    if record:
        st.markdown(said)
    else:
        top.markdown(f"### {said}")
    _show_list(briefs)


def _headline(number: int, record: Record) -> str:
    """Say what a record is of and what it came to."""
    came = (
        record.failure.message
        if record.failure
        else trials.headline(_trials(number), record.spoiled)
    )
    return f"Record {number}, {_title(record)}: {came}"


def _title(record: Record) -> str:
    cell = record.job.cell
    context = cell.params.get("context")
    cache = cell.cache.label if cell.cache else None
    return _name(cell.benchmark, cache, context if isinstance(context, int) else None)


def _trials(number: int) -> list[Trial]:
    samples = ask(queries.samples, number)
    return [Trial(s["metric"], s["trial"], s["value"], s["warmup"]) for s in samples]


def _asked(told: str) -> Record | None:
    """Return the record of a number, and say so where there is none."""
    number = int(told) if told.isascii() and told.isdecimal() else 0
    if not told:
        return None
    if not 0 < number <= LAST:
        st.warning(f"“{plain(told)}” is no number of a record.", icon=":material/link_off:")
        return None
    record = ask(queries.record, number)
    if record is None:
        st.warning(f"There is no record {number} here (any more).", icon=":material/link_off:")
    return record


def _show_list(briefs: tuple[Brief, ...]) -> None:
    tables.show(
        [
            {
                "record": tables.link(brief.record),
                "status": "not counted" if brief.spoiled else brief.status,
                "what": _name(brief.benchmark, brief.cache, brief.context),
                "host": brief.host,
                "device": brief.device,
                "started (UTC)": naming.clock(brief.started).removesuffix(" UTC"),
            }
            for brief in briefs
        ],
        record=tables.OPEN,
    )


def _name(benchmark: str, cache: str | None, context: int | None) -> str:
    """Name what a record measured, in a list and above the record alike."""
    place = f" @ {figures.context(context)}" if context else ""
    return " ".join(filter(None, [benchmark, naming.cache(cache) if cache else ""])) + place


def _show_record(number: int, record: Record) -> None:
    _show_place(record)
    if record.failure:
        message = f"{record.failure.message}. {record.failure.remedy}"
        st.error(plain(message, 500), icon=":material/error:")
        st.code(record.failure.log or "(no log)", language=None)
    for sentence in validity.not_counting(record):
        st.warning(plain(sentence, 500), icon=":material/block:")
    for reason in record.suspicious:
        st.warning(f"Suspicious: {plain(reason, 500)}", icon=":material/help:")
    part = choices.one("Part", PARTS, "part")
    if part == SAMPLES:
        _show_heat(record)
        _show_samples(number, _trials(number))
    elif part == ENVIRONMENT:
        _show_environment(number, record)
    else:
        _show_repeat(record)


def _show_place(record: Record) -> None:
    build, said = record.job.build, ask(queries.descriptions)
    known = said.get(build.commit or "")
    name = naming.revision(build.commit or build.hash, said)
    commit = linked(name, known.url if known else None)
    cell = record.job.cell
    inside = ", ".join(f"{key}={value}" for key, value in cell.params.items())
    st.markdown(
        f"{plain(record.environment.device)} (host {plain(record.place)}), "
        f"{naming.clock(record.started)}, model {plain(cell.model or 'none')}, commit {commit}"
        + (" with changes" if build.dirty else "")
        + (f"; {plain(inside)}" if inside else "")
    )


def _show_heat(record: Record) -> None:
    """Say what clock, temperature and thermal level were before and after, where known."""
    before, after = record.environment, record.environment_after
    known = [
        f"{name.replace('_', ' ')}: {_fact(before, name)} before, {_fact(after, name)} after"
        for name in HEAT
        if name in before.facts or name in after.facts
    ]
    nothing = "Clock and temperature are unknown: no meter on this host."
    st.caption(plain("; ".join(known) or nothing, 500))


def _fact(environment: Environment, name: str) -> str:
    """Write a fact with its unit."""
    if name not in environment.facts:
        return "unknown"
    return f"{environment.facts[name]} {FACTS[name].unit}".strip()


def _show_samples(number: int, found: list[Trial]) -> None:
    if not found:
        st.info("This record has no samples.", icon=":material/info:")
        return
    for metric in dict.fromkeys(trial.metric for trial in found):
        of_metric = [trial for trial in found if trial.metric == metric]
        if summary := trials.summary(of_metric):
            st.markdown(plain(summary))
        draw(marks.raw_trials, of_metric, metric)
    st.download_button(
        "Download samples (CSV)",
        pd.DataFrame(ask(queries.samples, number)).to_csv(index=False),
        f"record-{number}-samples.csv",
        "text/csv",
    )


def _show_environment(number: int, record: Record) -> None:
    earlier = ask(queries.earlier_record, number)
    facts = record.environment.facts
    before = ask(queries.record, earlier.record) if earlier else None
    if earlier and before:
        changed = comparability.differences(before.environment.facts, facts)
        st.markdown(
            f"Against the record before it ([{earlier.record}]({tables.link(earlier.record)})): "
            + plain("; ".join(changed) or "nothing differs", 1000)
        )
    else:
        st.markdown("There is no earlier record of this cell on this device to compare with.")
    names = sorted(facts | record.environment.unknown)
    tables.show(
        [
            {
                "fact": name,
                "value": str(facts.get(name, "unknown")),
                "why unknown": record.environment.unknown.get(name, ""),
                "decides comparability": name in record.environment.comparable,
            }
            for name in names
        ]
    )


def _show_repeat(record: Record) -> None:
    job = record.job
    st.markdown(
        "On the machine that runs the farm, in the folder of `inventory.yaml` (`.venv/bin` on the "
        "path):"
    )
    st.code(LOCALLY + _heredoc(job), language="bash", wrap_lines=True)
    st.markdown(f"On another machine, if {plain(record.place)} is one, with its address:")
    remotely = REMOTELY.format(address=record.place)
    st.code(remotely + _heredoc(job), language="bash", wrap_lines=True)
    with st.expander("The job"):
        st.code(job.model_dump_json(indent=2), language="json")


def _heredoc(job: Job) -> str:
    """Write a job as what a shell command reads: one line, as the worker wants it."""
    return f" <<'JOB'\n{job.model_dump_json()}\nJOB"


if __name__ == "__main__":
    page()

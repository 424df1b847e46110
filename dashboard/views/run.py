"""One run, and one record of it: environment, raw samples, log, how to repeat it."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from dashboard import choices
from dashboard.analysis import comparability, figures, validity
from dashboard.charts import marks
from dashboard.charts.drawing import draw
from dashboard.database import ask
from db import queries
from db.queries import Brief
from worker.job import Job
from worker.machine.environment.facts import FACTS
from worker.record import Environment, Record

PARTS = ("Samples", "Environment", "Repeat it")
LOCALLY = "python -m worker --builds .farm/builds"
# Where bringing a host up has put everything; of several versions the newest is taken.
REMOTELY = (
    "ssh {address} 'cd .turbofarm && PYTHONPATH=$(ls -td $PWD/harness/*/ | head -1) "
    "$(ls -t environments/*/bin/python | head -1) -m worker --builds builds'"
)
HEAT = ("gpu_clock", "gpu_temperature", "thermal_level", "gpu_power")


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def what(brief: Brief) -> str:
    place = f" @ {figures.context(brief.context)}" if brief.context else ""
    return " ".join(part for part in (brief.benchmark, brief.cache) if part) + place


def show_list(briefs: tuple[Brief, ...]) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "what": what(brief),
                    "host": brief.host,
                    "device": brief.device,
                    "status": "invalid" if brief.spoiled else brief.status,
                    "started (UTC)": clock(brief.started).removesuffix(" UTC"),
                    "record": f"/run?record={brief.record}",
                }
                for brief in briefs
            ]
        ),
        hide_index=True,
        column_config={"record": st.column_config.LinkColumn(display_text="open")},
    )


def show_heat(record: Record) -> None:
    """Say what clock, temperature and thermal level were before and after, where known."""
    before, after = record.environment, record.environment_after
    known = [
        f"{name.replace('_', ' ')}: {fact(before, name)} before, {fact(after, name)} after"
        for name in HEAT
        if name in before.facts or name in after.facts
    ]
    st.caption("; ".join(known) or "Clock and temperature are unknown: no meter on this host.")


def fact(environment: Environment, name: str) -> str:
    """Write a fact with its unit."""
    if name not in environment.facts:
        return "unknown"
    return f"{environment.facts[name]} {FACTS[name].unit}".strip()


def show_samples(number: int) -> None:
    samples = ask(queries.samples, number)
    if not samples:
        st.info("This record has no samples.", icon=":material/info:")
        return
    for metric in dict.fromkeys(sample["metric"] for sample in samples):
        trials = [
            marks.Trial(metric, s["trial"], s["value"], s["warmup"])
            for s in samples
            if s["metric"] == metric
        ]
        draw(marks.raw_trials, trials, metric)
    st.download_button(
        "Download samples (CSV)",
        pd.DataFrame(samples).to_csv(index=False),
        f"record-{number}-samples.csv",
        "text/csv",
    )


def show_environment(number: int, record: Record) -> None:
    earlier = ask(queries.earlier_record, number)
    facts = record.environment.facts
    if earlier:
        before = ask(queries.record, earlier.record)
        assert before  # noqa: S101  found in the same answer
        changed = comparability.differences(before.environment.facts, facts)
        st.markdown(
            f"Against the record before it ([{earlier.record}](/run?record={earlier.record})): "
            + ("; ".join(changed) or "nothing differs")
        )
    else:
        st.markdown("There is no earlier record of this cell on this device to compare with.")
    names = sorted(facts | record.environment.unknown)
    table = pd.DataFrame(
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
    st.dataframe(table, hide_index=True)


def show_repeat(record: Record) -> None:
    job = record.job
    st.markdown(
        "On the machine that runs the farm, in the folder of `inventory.yaml` (`.venv/bin` on the "
        "path):"
    )
    st.code(LOCALLY + heredoc(job), language="bash", wrap_lines=True)
    st.markdown(f"On another machine, if `{record.place}` is one, with its address:")
    st.code(REMOTELY.format(address=record.place) + heredoc(job), language="bash", wrap_lines=True)
    with st.expander("The job"):
        st.code(job.model_dump_json(indent=2), language="json")


def heredoc(job: Job) -> str:
    """Write a job as what a shell command reads: one line, as the worker wants it."""
    return f" <<'JOB'\n{job.model_dump_json()}\nJOB"


def show_record(number: int) -> None:
    record = ask(queries.record, number)
    if record is None:
        st.warning(f"There is no record {number} here (any more).", icon=":material/link_off:")
        return
    cell, build = record.job.cell, record.job.build
    st.subheader(" ".join(filter(None, [cell.benchmark, cell.cache.label if cell.cache else ""])))
    st.markdown(
        f"{record.environment.device} (host `{record.place}`), {clock(record.started)}, "
        f"model `{cell.model or 'none'}`, commit `{(build.commit or build.hash)[:10]}`"
        + (" with changes" if build.dirty else "")
    )
    if record.failure:
        st.error(f"{record.failure.message}. {record.failure.remedy}", icon=":material/error:")
        st.code(record.failure.log or "(no log)")
    for sentence in validity.not_counting(record):
        st.warning(sentence, icon=":material/block:")
    for reason in record.suspicious:
        st.warning(f"Suspicious: {reason}", icon=":material/help:")
    samples, environment, repeat = st.tabs(PARTS, key="part", bind="query-params")
    if samples.open:
        with samples:
            show_heat(record)
            show_samples(number)
    if environment.open:
        with environment:
            show_environment(number, record)
    if repeat.open:
        with repeat:
            show_repeat(record)


st.title("Run")
known = ask(queries.runs)
if not known:
    st.info("No run yet. Start one with `farm run`.", icon=":material/info:")
    st.stop()
number = st.number_input(
    "Record",
    min_value=1,
    step=1,
    value=None,
    key="record",
    bind="query-params",
    placeholder="number of a record, or choose one below",
)
if number is not None:
    show_record(number)
st.divider()
chosen = choices.one("Run", [run.id for run in known], "run")
summary = next(run for run in known if run.id == chosen)
st.markdown(
    f"Suite {summary.suite}, started {clock(summary.started)}: {summary.records} of "
    f"{summary.jobs} jobs have records, {summary.failed} failed."
)
show_list(ask(queries.run_records, chosen))

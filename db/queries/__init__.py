"""Every read: one function a question."""

from db.published import Published
from db.queries.commits import Description, descriptions, undescribed
from db.queries.exports import COLUMNS, documents, exported
from db.queries.gates import (
    GateTally,
    SeriesVerdict,
    counted_records,
    gate_tallies,
    noises,
    series_verdicts,
)
from db.queries.nights import HostState, Trouble, hosts, troubles
from db.queries.published import published
from db.queries.records import (
    Brief,
    earlier_record,
    record,
    run_records,
    samples,
    scores_by_label,
)
from db.queries.runs import (
    RunSummary,
    measured,
    pending_jobs,
    records,
    runs,
    typical_seconds,
    wall,
)
from db.queries.series import (
    Change,
    Commit,
    Newest,
    Point,
    changes,
    commits,
    conditions,
    newest,
    raw_samples,
    timeline,
)

__all__ = [
    "COLUMNS",
    "Brief",
    "Change",
    "Commit",
    "Description",
    "GateTally",
    "HostState",
    "Newest",
    "Point",
    "Published",
    "RunSummary",
    "SeriesVerdict",
    "Trouble",
    "changes",
    "commits",
    "conditions",
    "counted_records",
    "descriptions",
    "documents",
    "earlier_record",
    "exported",
    "gate_tallies",
    "hosts",
    "measured",
    "newest",
    "noises",
    "pending_jobs",
    "published",
    "raw_samples",
    "record",
    "records",
    "run_records",
    "runs",
    "samples",
    "scores_by_label",
    "series_verdicts",
    "timeline",
    "troubles",
    "typical_seconds",
    "undescribed",
    "wall",
]

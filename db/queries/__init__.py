"""Every read: one function a question."""

from db.queries.records import (
    Brief,
    earlier_record,
    record,
    run_records,
    samples,
    scores_by_label,
)
from db.queries.runs import RunSummary, pending_jobs, records, runs, typical_seconds, wall
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
    "Brief",
    "Change",
    "Commit",
    "Newest",
    "Point",
    "RunSummary",
    "changes",
    "commits",
    "conditions",
    "earlier_record",
    "newest",
    "pending_jobs",
    "raw_samples",
    "record",
    "records",
    "run_records",
    "runs",
    "samples",
    "scores_by_label",
    "timeline",
    "typical_seconds",
    "wall",
]

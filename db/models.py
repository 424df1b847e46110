"""The tables; ``db/schema.md`` gives a reason for each column."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}


class Run(Base):
    __tablename__ = "run"

    id: Mapped[str] = mapped_column(primary_key=True)
    suite: Mapped[str]
    started: Mapped[float]
    finished: Mapped[float | None]
    wall: Mapped[float] = mapped_column(default=0.0)
    origin: Mapped[str | None]


class Verdict(Base):
    __tablename__ = "verdict"
    __table_args__ = (
        UniqueConstraint("run_id", "host", "cell_id", "metric", name="verdict_once"),
        Index("verdict_by_series", "cell_id", "device", "metric"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"))
    cell_id: Mapped[str] = mapped_column(ForeignKey("cell.id"))
    host: Mapped[str]
    device: Mapped[str]
    comparison_key: Mapped[str]
    metric: Mapped[str]
    baseline: Mapped[str] = mapped_column(ForeignKey("build.hash"))
    candidate: Mapped[str] = mapped_column(ForeignKey("build.hash"))
    outcome: Mapped[str]
    effect: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    pairs: Mapped[int]
    p: Mapped[float | None]
    deviation: Mapped[float | None]
    replaced: Mapped[int]
    injected: Mapped[float | None]
    note: Mapped[str]
    seed: Mapped[int]
    judged: Mapped[float]


class Suspect(Base):
    __tablename__ = "suspect"
    __table_args__ = (Index("suspect_by_series", "cell_id", "device", "metric"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    cell_id: Mapped[str] = mapped_column(ForeignKey("cell.id"))
    device: Mapped[str]
    metric: Mapped[str]
    commit: Mapped[str]
    asked: Mapped[str]
    changed: Mapped[bool]


class Regression(Base):
    __tablename__ = "regression"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'acknowledged', 'withdrawn')", name="regression_state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    branch: Mapped[str]
    good: Mapped[str]
    bad: Mapped[str]
    effect: Mapped[float]
    found: Mapped[float]
    state: Mapped[str]
    culprit: Mapped[str | None]
    confidence: Mapped[float | None]
    author: Mapped[str | None]
    reason: Mapped[str | None]
    expires: Mapped[float | None]
    document: Mapped[dict[str, Any]]


class Build(Base):
    __tablename__ = "build"

    hash: Mapped[str] = mapped_column(primary_key=True)
    commit: Mapped[str | None] = mapped_column(index=True)
    dirty: Mapped[bool]
    measured: Mapped[float | None] = mapped_column(index=True)
    newest: Mapped[int | None]


class Commit(Base):
    __tablename__ = "git_commit"

    name: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    author: Mapped[str]
    authored: Mapped[float]
    url: Mapped[str | None]


class Cell(Base):
    __tablename__ = "cell"

    id: Mapped[str] = mapped_column(primary_key=True)
    benchmark: Mapped[str] = mapped_column(index=True)
    model: Mapped[str | None]
    cache: Mapped[str | None]
    context: Mapped[int | None]
    document: Mapped[dict[str, Any]]


class Job(Base):
    __tablename__ = "job"
    __table_args__ = (Index("job_by_run", "run_id", "position"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"))
    position: Mapped[int]
    cell_id: Mapped[str] = mapped_column(ForeignKey("cell.id"))
    build_hash: Mapped[str] = mapped_column(ForeignKey("build.hash"))
    host: Mapped[str]
    document: Mapped[dict[str, Any]]


class Coordinator(Base):
    __tablename__ = "coordinator"

    epoch: Mapped[int] = mapped_column(primary_key=True)
    started: Mapped[float]


class Attempt(Base):
    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("job_id", "number", name="attempt_once"),
        CheckConstraint("state IN ('leased', 'done', 'lost')", name="attempt_state"),
        Index("lease_of_job", "job_id", unique=True, sqlite_where=text("state = 'leased'")),
        Index("lease_of_lane", "lane", unique=True, sqlite_where=text("state = 'leased'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    number: Mapped[int]
    lane: Mapped[str]
    host: Mapped[str]
    epoch: Mapped[int] = mapped_column(ForeignKey("coordinator.epoch"), index=True)
    state: Mapped[str]
    leased: Mapped[float]
    ended: Mapped[float | None]
    reason: Mapped[str]


class Wish(Base):
    __tablename__ = "wish"

    lane: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(ForeignKey("coordinator.epoch"), primary_key=True)
    since: Mapped[float]


class Pause(Base):
    __tablename__ = "pause"

    host: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[float]
    reason: Mapped[str]


class LateRecord(Base):
    __tablename__ = "late_record"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), index=True)
    attempt: Mapped[int]
    host: Mapped[str]
    received: Mapped[float]
    document: Mapped[str]


class Record(Base):
    __tablename__ = "record"
    __table_args__ = (
        CheckConstraint("status IN ('ok', 'failed')", name="record_status"),
        Index("record_by_series", "cell_id", "device", "build_hash"),
        Index("record_by_run", "run_id", "status"),
        Index("record_by_host", "host", "started"),
        Index(
            "record_that_does_not_count",
            "started",
            sqlite_where=text("status = 'failed' OR invalid != '[]'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), unique=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"))
    cell_id: Mapped[str] = mapped_column(ForeignKey("cell.id"))
    build_hash: Mapped[str] = mapped_column(ForeignKey("build.hash"))
    host: Mapped[str]
    device: Mapped[str]
    comparison_key: Mapped[str]
    status: Mapped[str]
    started: Mapped[float] = mapped_column(index=True)
    invalid: Mapped[list[Any]]
    document: Mapped[str]


class Sample(Base):
    __tablename__ = "sample"
    __table_args__ = (Index("sample_by_metric", "metric", "record_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    record_id: Mapped[int] = mapped_column(ForeignKey("record.id"), index=True)
    metric: Mapped[str]
    value: Mapped[float]
    trial: Mapped[int]
    warmup: Mapped[bool]
    labels: Mapped[dict[str, Any]]


class Conditions(Base):
    __tablename__ = "conditions"

    key: Mapped[str] = mapped_column(primary_key=True)
    facts: Mapped[dict[str, Any]]


class Series(Base):
    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("device", "cell_id", "metric", name="series_names"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    cell_id: Mapped[str] = mapped_column(ForeignKey("cell.id"))
    device: Mapped[str]
    metric: Mapped[str]
    noise: Mapped[float | None]
    newest: Mapped[int | None] = mapped_column(ForeignKey("record.id"))


class Point(Base):
    __tablename__ = "point"
    __table_args__ = (
        # Covers the comparison of two builds, or SQLite would go through whole series instead.
        Index("point_by_build", "build_hash", "series_id", "valid", "value", "comparison_key"),
        Index("point_by_record", "record_id"),
        {"sqlite_with_rowid": False},
    )

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), primary_key=True)
    started: Mapped[float] = mapped_column(primary_key=True)
    record_id: Mapped[int] = mapped_column(ForeignKey("record.id"), primary_key=True)
    build_hash: Mapped[str] = mapped_column(ForeignKey("build.hash"))
    comparison_key: Mapped[str]
    valid: Mapped[bool]
    value: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    trials: Mapped[int]


class Published(Base):
    __tablename__ = "published"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('figure', 'ratio', 'at most', 'at least')", name="published_kind"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    suite: Mapped[str] = mapped_column(index=True)
    source: Mapped[str]
    device: Mapped[str]
    model: Mapped[str | None]
    cache: Mapped[str | None]
    benchmark: Mapped[str]
    context: Mapped[int | None]
    metric: Mapped[str]
    kind: Mapped[str]
    value: Mapped[float]
    note: Mapped[str]

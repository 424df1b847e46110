"""Conditions on records: whether their figures count, as their points say."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists

from db.models import Point, Record


def spoiled() -> ColumnElement[bool]:
    """Ask for records with a figure that does not count."""
    return exists().where(Point.record_id == Record.id, Point.valid.is_(False))


def counting() -> ColumnElement[bool]:
    """Ask for records with a figure that counts."""
    return exists().where(Point.record_id == Record.id, Point.valid.is_(True))

"""Which build a page shows: one at a time, the newest that was measured whole to begin with."""

from __future__ import annotations

from collections.abc import Sequence

from db.queries import BuildSummary

# Of the most series that any of these builds has; a night may lose a cell or two.
WHOLE = 0.9
LATELY = 10


def newest_complete(builds: Sequence[BuildSummary]) -> int:
    """Return the place of the newest build with nearly as many series as any of late; 0 for none.

    A run that was broken off, a gate of two cells or a single try must not empty the pages.
    """
    late = builds[:LATELY]
    most = max((build.series for build in late), default=0)
    return next((i for i, build in enumerate(late) if build.series >= WHOLE * most), 0)

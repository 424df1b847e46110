"""What a host does not have, or a cell cannot ask for."""

from __future__ import annotations


class RefusalError(Exception):
    """A cell cannot be measured on this host: the message says what is missing, and the remedy.

    Its record is ``refused``, without a traceback; the other cells of the run are not touched.
    """

"""A fault that nobody foresaw: a sentence for who uses the program, and all of it in a file."""

from __future__ import annotations

import sys
import tempfile
import traceback

#: The exit code of an error of the program's own, as sysexits.h has it.
BROKEN = 70


def tell(command: str, error: Exception) -> None:
    """Say what ended a command; its traceback goes into a new file, which is named."""
    with tempfile.NamedTemporaryFile("w", prefix="turbo-kv-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    what = f"{type(error).__name__}: {error}"
    sys.stderr.write(f"turbo-kv {command}: {what}; {file.name} tells where\n")

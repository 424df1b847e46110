"""A command for a host whose login shell is unknown: bash, zsh, fish, tcsh, with any start-up file.

The login shell sees one line of letters and digits that each of them reads alike, and hands it to
``sh``. What start-up files print comes before the mark, on both outputs, and is passed over.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: Where tools lie that the PATH of a session over SSH does not have: of Homebrew, of a user.
FOLDERS = (
    "/opt/homebrew/bin:/usr/local/bin:$HOME/.local/bin:$HOME/.cargo/bin:/opt/local/bin:"
    "/usr/bin:/bin:/usr/sbin:/sbin:$HOME/.pyenv/shims"
)
SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,-")


def line(command: Sequence[str], mark: str) -> str:
    """Return what to let the login shell run: it prints the mark on both outputs, then runs it."""
    said = f"printf '\\n%s\\n' {mark}"
    script = f'PATH="$PATH:{FOLDERS}"; export PATH; {said}; {said} >&2; exec {shlex.join(command)}'
    escaped = "".join(chr(byte) if byte in SAFE else f"\\0{byte:03o}" for byte in script.encode())
    return f"""sh -c 'eval "$(printf %b "$0")"' '{escaped}'"""


def after(mark: str, said: bytes) -> bytes | None:
    """Return what was said after the mark, None if it has not come yet."""
    _, found, rest = said.partition(f"\n{mark}\n".encode())
    return rest if found else None

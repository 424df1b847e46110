"""Take out of what is sent to others whose machine it comes from: names, addresses, serials.

The names of user and host are those that the machine tells of itself; all else is known by its
form. What every machine says, such as ``Mac`` or ``root``, tells nothing and stays.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from worker import registry
from worker.machine.reasons import KINDS
from worker.metrics import METRICS

#: Names that half of all machines have, or that are words of the outputs themselves.
GENERIC = frozenset(
    (
        *(
            "root",
            "admin",
            "administrator",
            "user",
            "guest",
            "runner",
            "worker",
            "nobody",
            "system",
        ),
        *(
            "mac",
            "macbook",
            "imac",
            "mini",
            "studio",
            "apple",
            "darwin",
            "linux",
            "ubuntu",
            "debian",
        ),
        *("localhost", "local", "host", "node", "server", "computer", "vm", "python", "farm"),
    )
)
SHORTEST = 2
#: Words of our own documents: a user called so is not told apart from them.
OURS = frozenset(
    (*METRICS, *KINDS, *registry.entries("benchmarks"), *registry.entries("caches"), "ok", "failed")
)

Document = TypeVar("Document", bound=BaseModel)

FORMS = (
    # A key that says what it is, in JSON, property lists of one line, and text.
    (
        re.compile(
            r"""(?ix) (["']? [\w() .-]* (?: serial | uuid | udid | edid | ecid | imei | \bmeid )
            [\w() .-]* ["']? \s* [:=] \s*) (?: "[^"\n]*" | <[^>\n]*> | [^\s,;}]+ )"""
        ),
        r'\1"<number>"',
    ),
    (re.compile(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{16}\b"), "<udid>"),
    (re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:])"), "<address>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<mail>"),
    (re.compile(r"\(id=\d+\)"), "(id=<number>)"),
    (re.compile(r"(/(?:Users|home)/)(?!Shared\b)[^/\s\"':]+"), r"\1<user>"),
    (re.compile(r"(/Volumes/)[^/\n\"]+"), r"\1<volume>"),
    (re.compile(r'(named: ")[^"\n]*(")'), r"\1<words>\2"),
)
ADDRESS = re.compile(
    r"(?i)(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*(?::[0-9a-f]*){2,7})(?![\w:])"
)


class Redaction:
    """What is taken out: names by what they name, as the machine or the inventory has them."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = [
            (re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"), f"<{kind}>")
            for kind, several in names.items()
            for name in sorted(several, key=len, reverse=True)
            if len(name) >= SHORTEST and name.lower() not in GENERIC and name not in OURS
        ]

    def text(self, text: str) -> str:
        """Return a text without names and numbers that identify."""
        for pattern, instead in (*FORMS, *self._names):
            text = pattern.sub(instead, text)
        return ADDRESS.sub(_address, text)

    def document(self, value: Any) -> Any:
        """Return a JSON document whose texts, keys too, are redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.document(inside) for key, inside in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(inside) for inside in value]
        return value

    def model(self, found: Document) -> Document:
        """Return a record, or another document of ours, redacted."""
        return type(found).model_validate(self.document(found.model_dump(mode="json")))


def _address(found: re.Match[str]) -> str:
    """Replace an address of a network; a time or a version is none, the loopback tells nothing."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback or address.is_unspecified else "<address>"

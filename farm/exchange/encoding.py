"""The text of a file from anywhere: UTF-8 or UTF-16, with or without a byte order mark."""

from __future__ import annotations

import codecs
import re

from farm.exchange.untrusted import UntrustedError

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
LINE_END = re.compile(r"\r\n|[\r\n]")


def decoded(content: bytes) -> str:
    """Return a file's text; raises UntrustedError for what is none.

    PowerShell's ``>`` writes UTF-16 or UTF-8 with a mark.
    """
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return _text(content[len(mark) :], encoding)
    # Every second byte of ASCII in UTF-16 is zero, and no byte of a text in UTF-8.
    if content[1:2] == b"\0":
        return _text(content, "utf-16-le")
    if content[:1] == b"\0":
        return _text(content, "utf-16-be")
    return _text(content, "utf-8")


def lines(text: str) -> list[str]:
    """Return lines as files have them; a text inside JSON may hold other separators of Unicode."""
    found = LINE_END.split(text)
    return found if found[-1] else found[:-1]


def _text(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        problem = f"no text: byte {error.start} is not {encoding.upper()}"
        raise UntrustedError(problem, "save it as UTF-8") from error

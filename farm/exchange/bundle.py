"""A run's bundle: what a tester sends who has no farm of ours, one ZIP file.

Two members: ``records.jsonl`` with every record, raw samples and environments in them, and
``manifest.json`` with everything else and the hash of the first. Whoever opens a bundle trusts
nothing in it, unpacks nothing to disk and reads no more than a limit.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from farm.errors import ConfigurationError, FarmError, Problem
from farm.exchange import encoding, untrusted
from farm.exchange.examination import Examination
from farm.exchange.untrusted import UntrustedError
from worker.conformance import Conformance
from worker.job import Wire
from worker.record import Environment, Record

MANIFEST, RECORDS = "manifest.json", "records.jsonl"
#: The most that a member may hold, in bytes.
LARGEST = {MANIFEST: 2 * 2**20, RECORDS: 128 * 2**20}
LARGEST_FILE = 64 * 2**20
MOST_PROBLEMS = 20

# The record that ends a ZIP file: signature, disks, members here and in all, size and place of
# the directory, length of a comment. Without a comment it is the last thing of the file.
END = struct.Struct("<4s4H2LH")
LARGEST_DIRECTORY = 4096
# Everything that Python's reader raises for a file that is none of its own.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


class Manifest(Wire):
    """What a bundle says of itself beside its records.

    ``builds`` and ``harness`` are hashes of the bytes that ran; ``environment`` is the host as a
    check sees it; ``conformance`` has a report for each build; ``doctor`` what ``farm doctor``
    found, if it wrote the bundle; ``records`` is the SHA-256 of the records' member.
    """

    version: Literal[1] = 1
    run: str
    suite: str
    harness: str
    builds: tuple[str, ...]
    environment: Environment
    conformance: dict[str, Conformance] = {}
    doctor: Examination | None = None
    records: str


@dataclass(frozen=True)
class Bundle:
    """A bundle's content, found harmless."""

    manifest: Manifest
    records: list[Record]


def check_place(path: Path) -> None:
    """Raise FarmError if no bundle can be written there, before anything is measured for it."""
    if path.is_dir() or not path.parent.is_dir():
        raise FarmError(f"--bundle {path}: no file in a folder that is there; name one")


def write(path: Path, manifest: Manifest, records: Sequence[Record]) -> None:
    """Write a bundle in one step; the manifest's hash of the records is filled in."""
    lines = "".join(f"{record.model_dump_json()}\n" for record in records).encode()
    said = manifest.model_copy(update={"records": hashlib.sha256(lines).hexdigest()})
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MANIFEST, said.model_dump_json(indent=2))
            archive.writestr(RECORDS, lines)
        unfinished.replace(path)
    except OSError as error:
        raise FarmError(
            f"--bundle {path}: {error.strerror}; the run is stored, farm export RUN.jsonl has it"
        ) from error


def is_bundle(path: Path) -> bool:
    """Tell a bundle from other files by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def read(path: Path) -> Bundle:
    """Open a bundle that anybody may have written; raises ConfigurationError if anything is off."""
    try:
        return _read(path)
    except UntrustedError as error:
        raise ConfigurationError(
            [Problem(str(path), "bundle", str(error), error.remedy)]
        ) from error


def _read(path: Path) -> Bundle:
    members = _members(path)
    manifest = _manifest(members[MANIFEST])
    if hashlib.sha256(members[RECORDS]).hexdigest() != manifest.records:
        raise UntrustedError(f"{RECORDS} is not the one that {MANIFEST} names")
    lines = encoding.lines(_text(members[RECORDS]))
    # A doctor sends what it found also of a host that can measure nothing.
    records = read_lines(path, RECORDS, lines) if lines or manifest.doctor is None else []
    for problem in _disagreements(manifest, records):
        raise UntrustedError(problem)
    return Bundle(manifest, records)


def read_lines(path: Path, place: str, lines: Sequence[str], first: int = 1) -> list[Record]:
    """Return the records of JSON lines, the first of which has the number ``first``.

    Raises ConfigurationError naming each line that is none; where no line is one, only the first.
    """
    problems, found = [], []
    for number, line in enumerate(lines, start=first):
        try:
            found.append(untrusted.record(line))
        except UntrustedError as error:
            where = f"{place}, line {number}"
            problems.append(Problem(str(path), where, f"no record: {error}", error.remedy))
    if not found and not problems:
        problems.append(Problem(str(path), place, "no records", "give a file that has some"))
    if problems:
        raise ConfigurationError(problems[: MOST_PROBLEMS if found else 1])
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UntrustedError(f"not UTF-8: {error.reason}") from error


def _members(path: Path) -> dict[str, bytes]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UntrustedError(f"larger than {LARGEST_FILE} bytes")
        with path.open("rb") as file:
            _check_end(file.read())
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for problem in _faults(members):
                raise UntrustedError(problem)
            return {member.filename: _content(archive, member) for member in members}
    except BROKEN as error:
        raise UntrustedError(f"not a whole ZIP file: {error}") from error


def _check_end(content: bytes) -> None:
    """Check the end of the file before Python's reader believes its counts and sizes."""
    if len(content) < END.size:
        raise UntrustedError("not a whole ZIP file")
    signature, *numbers = END.unpack(content[-END.size :])
    _, _, here, members, size, place, comment = numbers
    if signature != b"PK\5\6" or comment or place + size + END.size != len(content):
        raise UntrustedError("not a whole ZIP file, or more than one")
    if not here == members == len(LARGEST) or size > LARGEST_DIRECTORY:
        raise UntrustedError(f"{members} members, not {len(LARGEST)}")


def _faults(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Find names, kinds and sizes that no bundle of a farm has."""
    if sorted(member.filename for member in members) != sorted(LARGEST):
        found = ", ".join(ascii(member.filename[:50]) for member in members)
        yield f"members {found}, not {MANIFEST} and {RECORDS} once each"
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.is_dir():
            yield f"{member.filename[:50]} is no plain file"
        if member.file_size > LARGEST.get(member.filename, 0):
            yield f"{member.filename[:50]} is too large: {member.file_size} bytes"


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return a member's bytes; no more are unpacked than it says, and its checksum must agree."""
    with archive.open(member) as file:
        content = file.read(member.file_size)
        if len(content) != member.file_size or file.read(1):
            raise UntrustedError(f"{member.filename} is not as large as it says")
    return content


def _manifest(content: bytes) -> Manifest:
    text = _text(content)
    try:
        return untrusted.validated(Manifest, text, untrusted.parse(text))
    except UntrustedError as error:
        raise UntrustedError(f"{MANIFEST}: {error}", error.remedy) from error


def _disagreements(manifest: Manifest, records: Sequence[Record]) -> Iterator[str]:
    jobs = [record.job.id for record in records]
    if len(set(jobs)) < len(jobs):
        yield "two records of one job"
    if records and {record.job.run for record in records} != {manifest.run}:
        yield f"records of another run than {manifest.run[:50]!a}"
    if {record.job.build.hash for record in records} != set(manifest.builds):
        yield "records of other builds than the manifest names"
    if not untrusted.HASH.fullmatch(manifest.harness):
        yield f"harness {manifest.harness[:50]!a} is no hash"
    if not set(manifest.conformance) <= set(manifest.builds):
        yield "conformance of a build that was not measured"

"""Bundles of a run, and what careless transport or malice can make of them; seeded."""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jobs
from farm.exchange import bundle
from farm.exchange.bundle import MANIFEST, RECORDS
from worker.conformance import Conformance
from worker.job import Cache, Cell
from worker.record import Environment

STARTED = 1_790_000_000.0
#: Values for any place of a document, as they stand in JSON.
NASTY = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1" + "0" * 30,
    "9" * 5000,
    "9223372036854775808",
    "-1",
    "0",
    "1e18",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"../../escaped"',
    '"a\\nb"',
    json.dumps("x" * 200_000),
    "[" * 500 + "]" * 500,
    "[" * 100_000,
    '{"a": 1, "a": 2}',
)
NAMES = (
    "../escaped",
    "/tmp/escaped",
    "a/../../escaped",
    "C:\\escaped",
    "records.jsonl/",
    " ",
    "é" * 99,
)

Parts = dict[str, bytes]


def records(count: int = 3) -> list[Any]:
    """Return records of one run on one host, with what the tester's host knows of itself."""
    environment = Environment(
        facts={"device": "Apple M5 Max", "os": "macOS"}, comparable=("device",)
    )
    made = []
    for context in range(512, 512 * (count + 1), 512):
        cell = Cell(
            benchmark="decode", model="m", cache=Cache(name="fp16"), params={"context": context}
        )
        job = jobs.job(cell=cell, run="20260921-120000-abcd")
        made.append(
            jobs.record(
                job,
                started=STARTED + context,
                environment=environment,
                environment_after=environment,
                build_hash=job.build.hash,
                phases={"measure": 1.0},
                details={"cache": {"tokens": 1}},
            )
        )
    return made


def write(path: Path, of: list[Any] | None = None) -> None:
    """Write a good bundle."""
    found = records() if of is None else of
    builds = tuple(dict.fromkeys(record.job.build.hash for record in found))
    manifest = bundle.Manifest(
        run=found[0].job.run,
        suite="smoke",
        harness="0" * 16,
        builds=builds,
        environment=found[0].environment,
        conformance={build: Conformance(largest_error={"portable": 1e-4}) for build in builds},
        records="",
    )
    bundle.write(path, manifest, found)


def mutated(good: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of ``count`` mutations, each kind about as often as the others."""
    chance = random.Random(seed)  # noqa: S311  repeatable on purpose
    kinds: list[Callable[[bytes, random.Random], bytes]] = [
        truncated,
        flipped,
        extended,
        renamed,
        another_member,
        member_twice,
        no_plain_file,
        bomb,
        lying_bomb,
        flagged,
        changed_manifest,
        changed_record,
        changed_record,
        changed_lines,
        wrong_hash,
    ]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        yield f"{number}: {kind.__name__}", kind(good, chance)


def parts(good: bytes) -> Parts:
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that come twice
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def with_hash(manifest: bytes, lines: bytes) -> bytes:
    """Pack members whose hash agrees, so that only what was changed can be wrong."""
    old = json.loads(manifest)["records"].encode()
    said = manifest.replace(old, hashlib.sha256(lines).hexdigest().encode())
    return packed([(MANIFEST, said), (RECORDS, lines)])


def truncated(good: bytes, chance: random.Random) -> bytes:
    return good[: chance.randrange(len(good))]


def flipped(good: bytes, chance: random.Random) -> bytes:
    content = bytearray(good)
    for _ in range(chance.choice((1, 1, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def extended(good: bytes, chance: random.Random) -> bytes:
    junk = chance.choice((b"\0" * 100, good, b"PK\5\6", chance.randbytes(50)))
    return chance.choice((good + junk, junk + good))


def renamed(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    return packed([(MANIFEST, of[MANIFEST]), (chance.choice(NAMES), of[RECORDS])])


def another_member(good: bytes, chance: random.Random) -> bytes:
    several = [(f"{chance.choice(NAMES)}{n}", b"hi") for n in range(chance.choice((1, 3000)))]
    return packed([*parts(good).items(), *several])


def member_twice(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    twice = chance.choice((MANIFEST, RECORDS))
    return packed([*of.items(), (twice, b"{}")])


def no_plain_file(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    link = zipfile.ZipInfo(RECORDS)
    link.external_attr = chance.choice((stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO)) << 16
    return packed([(MANIFEST, of[MANIFEST]), (link, b"../../escaped")])


def bomb(good: bytes, chance: random.Random) -> bytes:
    return _bomb(good, chance.choice((MANIFEST, RECORDS)))


@cache
def _bomb(good: bytes, large: str) -> bytes:
    others = [(name, content) for name, content in parts(good).items() if name != large]
    return packed([*others, (large, b" " * (129 * 2**20))])


def lying_bomb(good: bytes, chance: random.Random) -> bytes:
    """Say in the directory that a member of 64 MiB has a few bytes."""
    content = bytearray(_large(good))
    entry = content.rindex(b"PK\1\2")
    content[entry + 24 : entry + 28] = chance.choice((10, 1000)).to_bytes(4, "little")
    return bytes(content)


@cache
def _large(good: bytes) -> bytes:
    return packed([(MANIFEST, parts(good)[MANIFEST]), (RECORDS, b" " * 2**26)])


def flagged(good: bytes, chance: random.Random) -> bytes:
    """Set a field of the directory: encryption, method, checksum, sizes, place."""
    content = bytearray(good)
    entry = content.index(b"PK\1\2")
    place = entry + chance.choice((8, 10, 16, 20, 24, 28, 30, 32, 42))
    content[place : place + 2] = chance.choice((b"\1\0", b"\x63\0", b"\xff\xff"))
    return bytes(content)


def changed_manifest(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    return with_hash_kept(_changed(of[MANIFEST].decode(), chance).encode(), of[RECORDS])


def with_hash_kept(manifest: bytes, lines: bytes) -> bytes:
    return packed([(MANIFEST, manifest), (RECORDS, lines)])


def wrong_hash(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    value = str(chance.randrange(2, 99)).encode()
    return with_hash_kept(of[MANIFEST], of[RECORDS].replace(b'"value":1.0', b'"value":' + value))


def changed_record(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    lines = of[RECORDS].decode().splitlines()
    # The last one: whoever stores as he reads has stored the others by then.
    lines[-1] = _changed(lines[-1], chance)
    return with_hash(of[MANIFEST], "\n".join(lines).encode())


def changed_lines(good: bytes, chance: random.Random) -> bytes:
    of = parts(good)
    lines = of[RECORDS].splitlines()
    changed = chance.choice(
        (
            [*lines, lines[0]],
            [*lines, b""],
            [*lines, b"\xff\xfe"],
            [],
            [*lines, lines[0][:100]],
            lines[:-1],
            [b"[]"],
            [line.replace(b'"version":1', b'"version":2') for line in lines],
        )
    )
    return with_hash(of[MANIFEST], b"\n".join(changed))


def _changed(text: str, chance: random.Random) -> str:
    """Put a nasty value in a random place of a JSON document, or drop or add a key."""
    document = json.loads(text)
    holder, key = chance.choice(list(_places(document)))
    what = chance.random()
    if what < 0.1 and isinstance(holder, dict):
        del holder[key]
    elif what < 0.2 and isinstance(holder, dict):
        holder["unheard_of"] = 1
    else:
        holder[key] = "@nasty@"
    return json.dumps(document).replace('"@nasty@"', chance.choice(NASTY), 1)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in list(items):
        yield value, key
        if isinstance(inside, dict | list):
            yield from _places(inside)

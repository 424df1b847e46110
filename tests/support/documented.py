"""Every command that the documentation shows, and how the tests run it.

``python tests/support/documented.py`` lists them. A block of a page is a step of the session that
the comment above it names; commands in running text and in other documents are mentions.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
DOCUMENTS = [
    REPOSITORY / name
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "db/schema.md",
        "dashboard/bench/README.md",
        "farm/bench/README.md",
        "worker/models/reference/README.md",
        "worker/turbo/README.md",
        "worker/turbo/bench/gpu_decode.md",
    )
]
MARK = re.compile(r"<!-- session: (?P<session>\w+)(?P<options>[\w, ]*) -->")
OPENS = re.compile(r'(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?$')
RUN = {"sh"}
MAC = ("sudo", "caffeinate", "launchctl", "pmset", "brew", "ps", "ssh", "ssh-copy-id")
OTHERS = ("hf", "git", "ssh-keygen")
COMMAND = re.compile(rf"(?:[A-Z_0-9]+=\S+ )*(farm|make|python|{'|'.join(MAC + OTHERS)})(?= |$)")


@dataclass(frozen=True)
class Step:
    """A block of a session: a script to run, or, with a title, a file to write."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    session: str
    options: tuple[str, ...]

    @property
    def status(self) -> int:
        """Return the exit code that the page says."""
        return next((int(one.split()[1]) for one in self.options if one.startswith("exit ")), 0)

    @property
    def commands(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


@dataclass(frozen=True)
class Mention:
    """A command in running text, in a table, or in a document's indented block."""

    page: Path
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """Return its words without variables in front; quotes need not be closed."""
        lexer = shlex.shlex(self.text, posix=False, punctuation_chars=False)
        lexer.whitespace_split, lexer.quotes, lexer.commenters = True, "", "#"
        words = list(lexer)
        while words and re.match(r"[A-Z_0-9]+=", words[0]):
            del words[0]
        return words


def steps(page: Path) -> list[Step]:
    """Return the blocks of a page that belong to a session."""
    found, mark = [], None
    lines = iter(enumerate(page.read_text().splitlines(), start=1))
    for number, line in lines:
        opened = OPENS.fullmatch(line)
        if opened:
            indent = opened["indent"]
            body = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner.removeprefix(indent))
            assert mark or (opened["language"] not in RUN), f"{page}:{number}: of no session"
            if mark:
                options = tuple(word.strip() for word in mark["options"].split(",") if word.strip())
                text = "\n".join(body) + "\n"
                where = (page, number, opened["language"], opened["title"], text)
                found.append(Step(*where, mark["session"], options))
        mark = MARK.fullmatch(line.strip())
    return found


def mentions(document: Path) -> Iterator[Mention]:
    """Yield the commands of a document outside of sessions' blocks."""
    fenced = False
    for number, line in enumerate(document.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("    ") and COMMAND.match(line.strip()):
            yield Mention(document, number, line.strip())
        elif not fenced:
            for code in re.findall(r"`([^`]+)`", line):
                if COMMAND.match(code):
                    yield Mention(document, number, code)


def how(mention: Mention) -> str:
    """Return how the tests run a mention."""
    first = mention.words[0]
    return {
        "farm": "its help is run and must have its options",
        "make": "make --dry-run",
        "python": "its module must be there; not run, as it takes minutes, a GPU or packages",
    }.get(first, "not run: it changes a Mac, or needs the network")


def table() -> Iterator[tuple[str, str, str]]:
    """Yield place, command and how it is run, of everything."""
    for page in PAGES:
        for step in steps(page):
            if step.language in RUN:
                options = ", ".join(("session " + step.session, *step.options))
                place = f"{step.page.relative_to(REPOSITORY)}:{step.line}"
                yield from ((place, line, options) for line in step.commands)
    for document in [*PAGES, *DOCUMENTS]:
        for mention in mentions(document):
            place = f"{document.relative_to(REPOSITORY)}:{mention.line}"
            yield place, mention.text, how(mention)


if __name__ == "__main__":
    for row in table():
        print(" | ".join(row))  # noqa: T201  what it is for

"""What mkdocs adds to the site: the reference, made from the code, and the repository's documents.

Documents are shown as they lie in the repository; only their links are turned to the site's pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from farm import reference

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "explanation/architecture.md",
    "SECURITY.md": "explanation/security.md",
    "worker/turbo/README.md": "explanation/turbo.md",
    "worker/turbo/bench/gpu_decode.md": "explanation/gpu.md",
    "worker/bench/quality.md": "explanation/quality.md",
    "packages/turbo_kv/README.md": "reference/turbo-kv.md",
    "worker/models/reference/README.md": "explanation/reference-model.md",
    "farm/bench/README.md": "explanation/judge.md",
    "dashboard/bench/README.md": "explanation/dashboard.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
PAGES = DOCUMENTS | {"db/schema.md": "reference/tables.md", "docs/mac.md": "mac.md"}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file of ``docs`` holds."""
    for path, text in (reference.pages() | documents()).items():
        files.append(File.generated(config, path, content=text))
    return files


def documents() -> dict[str, str]:
    """Return the repository's documents by their path on the site."""
    return {
        page: turned((REPOSITORY / name).read_text(), name, page)
        for name, page in DOCUMENTS.items()
    }


def turned(text: str, name: str, page: str) -> str:
    """Turn a document's relative links to the site's pages; others stay, and fail the build."""

    def turn(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
        for kept in (target, f"{target}/README.md"):
            if kept in PAGES:
                return posixpath.relpath(PAGES[kept], posixpath.dirname(page) or ".")
        if target.startswith("docs/"):
            return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(page) or ".")
        return found[0]

    return LINK.sub(turn, text)

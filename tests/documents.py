"""The repository's documents as tests see them: their code blocks, headings and links."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(?P<language>\S*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@attrs.frozen
class Document:
    """A Markdown file of the repository."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language, in order."""
        return [found["code"] for found in _BLOCK.finditer(self.text) if found["language"] == language]

    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _BLOCK.sub("", self.text)

    def headings(self) -> list[str]:
        return _HEADING.findall(self.prose())

    def anchors(self) -> set[str]:
        """What a link may name after ``#``, by GitHub's rule."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings()}

    def links(self) -> list[str]:
        """Where its links lead, but for those out of the repository."""
        return [link for link in _LINK.findall(self.prose()) if "://" not in link]


def document(name: str) -> Document:
    return Document(ROOT / name)


def all_documents() -> list[Document]:
    """Every document that is meant to be read."""
    names = ["*.md", "docs/**/*.md", "plugins/*/README.md"]
    return [Document(path) for name in names for path in sorted(ROOT.glob(name))]

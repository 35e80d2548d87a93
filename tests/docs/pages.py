"""Reads the commands and outputs of a page of the manual."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_STEP = re.compile(
    r"<!-- (?P<mark>run|run in terminal 1|interrupt terminal 1) -->\n(?:```sh\n(?P<script>.*?)```\n)?"
    r"(?:(?P<between>(?:(?!```|<!--).)*?)```text\n(?P<expected>.*?)```\n)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """One thing the page has its reader do, and what the reader is told to see."""

    mark: str
    script: str
    expected: str | None


def steps(page: str) -> list[Step]:
    """Return what a page does, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Step(match["mark"], match["script"] or "", match["expected"]) for match in _STEP.finditer(text)]


def fits(expected: str, printed: str) -> bool:
    """Whether `printed` is `expected`: `...` stands for any text, a run of blanks for any other."""
    pieces = [re.escape(" ".join(piece.split())) for piece in expected.split("...")]
    pattern = ".*".join(piece.replace(r"\ ", r"\s*") for piece in pieces)
    return re.fullmatch(r"\s*" + pattern + r"\s*", " ".join(printed.split()), re.DOTALL) is not None

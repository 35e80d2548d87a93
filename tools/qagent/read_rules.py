"""Reads what a project tells those who change it: assistants' instruction files and editor settings."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.masking import mask_text

RULE_FILES = (
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".github/copilot-instructions.md",
    ".cursorrules",
    ".windsurfrules",
    ".editorconfig",
    "CONTRIBUTING.md",
)
RULE_FOLDERS = (".cursor/rules", ".github/instructions")
_MOST_FILES = 20
_MOST_BYTES = 64_000


class RuleFile(BaseModel):
    """One file of instructions."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="The file, below the workspace.")
    text: str = Field(description="What it says, secrets masked; cut where `cut` says so.")
    cut: bool = Field(default=False, description="Whether more stands in the file than is shown.")


@dataclass(frozen=True, slots=True)
class Rules:
    """A project's instructions, most specific to assistants first."""

    files: tuple[RuleFile, ...]

    def text(self, most_characters: int) -> str:
        """Return them as one text within a bound; files that do not fit are named."""
        shown: list[str] = []
        left = most_characters
        for file in self.files:
            head = f"## {file.path}\n"
            body = file.text.strip()
            if left < len(head) + 200:
                shown.append(f"## {file.path}\n(not shown for want of room: read it)")
                continue
            cut = body if len(body) <= left - len(head) else body[: left - len(head)] + "\n(cut: read the file)"
            shown.append(head + cut)
            left -= len(head) + len(cut)
        return "\n\n".join(shown)


def read_rules(root: Path) -> Rules:
    """Read the instruction files of the project at `root`. Links that lead outside are not followed. Blocks."""
    places = [root / name for name in RULE_FILES]
    for folder in RULE_FOLDERS:
        if (root / folder).is_dir():
            places += sorted(path for path in (root / folder).rglob("*") if path.suffix in (".md", ".mdc"))
    found = [file for place in places if (file := _read(root, place)) is not None]
    return Rules(tuple(found[:_MOST_FILES]))


def _read(root: Path, place: Path) -> RuleFile | None:
    try:
        real = place.resolve(strict=True)
        if not real.is_relative_to(root.resolve()) or not real.is_file():
            return None
        with real.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        return None
    text = content[:_MOST_BYTES].decode("utf-8", "replace")
    return RuleFile(path=place.relative_to(root).as_posix(), text=mask_text(text), cut=len(content) > _MOST_BYTES)

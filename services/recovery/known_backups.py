"""Backups that lie in a folder, known by the manifests pg_basebackup writes."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_NAME = "backup_manifest"
_DEPTH = 4
_MOST = 200
_MOST_BYTES = 64 * 1024 * 1024


class KnownBackup(BaseModel):
    """A base backup, as its manifest tells of it. It is not opened: a drill does that."""

    model_config = ConfigDict(frozen=True)

    folder: str = Field(description="Where its manifest lies, below the folder asked about.")
    taken: str = Field(description="When its last file was written, ISO 8601, UTC.")
    size_bytes: int = Field(description="Sum of its files.")
    files: int = Field(description="How many files.")
    system_identifier: str | None = Field(
        description="The server it is of; manifests before PostgreSQL 17 are silent."
    )
    checksummed: bool = Field(description="Whether every file that is not empty has a checksum.")


def known_backups(folder: Path) -> tuple[list[KnownBackup], list[str]]:
    """Return the backups below a folder, newest first, and the manifests that cannot be read, with why."""
    found: list[KnownBackup] = []
    broken: list[str] = []
    for top, folders, files in os.walk(folder):
        if len(Path(top).relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        if _NAME in files:
            folders.clear()
            place = Path(top)
            shown = str(place.relative_to(folder))
            try:
                found.append(_read(place / _NAME, shown))
            except (OSError, ValueError, KeyError, TypeError) as error:
                broken.append(f"{shown}: {type(error).__name__}, no manifest that can be read")
        if len(found) + len(broken) >= _MOST:
            break
    return sorted(found, key=lambda one: one.taken, reverse=True), broken


def _read(path: Path, shown: str) -> KnownBackup:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("too large")
    said = json.loads(path.read_bytes())
    files = said["Files"]
    times = [datetime.strptime(one["Last-Modified"], "%Y-%m-%d %H:%M:%S %Z").replace(tzinfo=UTC) for one in files]
    identifier = said.get("System-Identifier")
    return KnownBackup(
        folder=shown,
        taken=max(times).isoformat(),
        size_bytes=sum(int(one["Size"]) for one in files),
        files=len(files),
        system_identifier=str(identifier) if identifier is not None else None,
        checksummed=all("Checksum" in one or not one["Size"] for one in files),
    )

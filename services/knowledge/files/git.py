"""What Git says of a folder: its files, what it ignores, and the commit that is checked out.

Repositories are foreign: Git is asked only for what runs nothing of theirs, with their monitors and hooks off.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import anyio

from quantum_suite.services.process import ProcessError, run

_SECONDS = 60.0
_MAX_BYTES = 256 * 1024 * 1024
_IGNORED_SHOWN = 1_000
_SAFELY = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")
_ENV = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class GitFiles:
    """A checkout, seen from one of its folders."""

    paths: list[str]
    """Tracked, or new and not ignored; may name files that were deleted, and folders that are repositories."""
    ignored: list[str]
    commit: str | None


async def git_files(root: Path) -> GitFiles | None:
    """Return what Git knows below `root`; None where there is no Git, or no repository it may read."""
    if not await anyio.to_thread.run_sync(_may_be_repository, root):
        return None
    listed = await _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    if listed is None:
        return None
    ignored = await _git(
        root,
        "ls-files",
        "-z",
        "--others",
        "--ignored",
        "--exclude-standard",
        "--directory",
        "--no-empty-directory",
    )
    head = await _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    commit = head.decode("ascii", "replace").strip() if head else ""
    return GitFiles(_paths(listed), _paths(ignored or b"")[:_IGNORED_SHOWN], commit or None)


def _may_be_repository(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


async def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = await run(
            ["git", *_SAFELY, *arguments],
            cwd=root,
            env=_ENV,
            timeout_seconds=_SECONDS,
            max_output_bytes=_MAX_BYTES,
        )
    except ProcessError:
        return None
    return done.stdout if done.returncode == 0 else None


def _paths(output: bytes) -> list[str]:
    return [os.fsdecode(path) for path in output.split(b"\0") if path]

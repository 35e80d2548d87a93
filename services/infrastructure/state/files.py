"""States in files: written whole or not at all, with what was there before beside it, under a lock."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from quantum_suite.core.errors import CallerError, Damaged, Unavailable
from quantum_suite.services.infrastructure.interface import Deployment, StackRef
from quantum_suite.services.infrastructure.state.format import deployment_from_json, deployment_to_json
from quantum_suite.services.infrastructure.state.journal import Journal, replayed

_STACK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_PAUSE_SECONDS = 0.05
MAX_STATE_BYTES = 512 * 1024 * 1024


def checked_stack(name: str) -> str:
    """Return a stack's name; raises CallerError when it is none."""
    if not _STACK_NAME.fullmatch(name):
        raise CallerError(
            f"'{name}' is no stack's name.",
            "Use letters, digits, hyphens, underscores and periods, at most 100.",
            argument="stack",
        )
    return name


class FileStateStore:
    """Keeps each stack's state below a directory, by the folder of its project: whoever may use the folder may use
    its stacks, whatever the project calls itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, ref: StackRef) -> Path:
        """Return the file of a stack's state; it need not exist."""
        return self._folder(ref.folder) / f"{checked_stack(ref.stack)}.json"

    def _folder(self, folder: Path) -> Path:
        return self._directory / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]

    def read(self, ref: StackRef) -> Deployment:
        """Return the state, what a killed run wrote down included; empty for a new stack.

        Secrets stay sealed. Raises Damaged naming the file and its backup.
        """
        path = self.place(ref)
        return replayed(_journal_of(path), _read(path, ref))

    def write(self, ref: StackRef, deployment: Deployment) -> None:
        """Replace the state, and end its journal. The state before stays beside it. Held locked by the caller."""
        path = self.place(ref)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(deployment_to_json(deployment), indent=1, ensure_ascii=False).encode()
        new = path.with_suffix(".json.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            before = path.with_suffix(".json.before")
            before.unlink(missing_ok=True)
            os.link(path, before)
            before.replace(backup_of(path))
        new.replace(path)
        _sync(path.parent)
        _journal_of(path).unlink(missing_ok=True)

    def begin_journal(self, ref: StackRef, deployment: Deployment) -> Journal:
        """Begin the journal of a run that starts from this state. Held locked by the caller."""
        path = _journal_of(self.place(ref))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        note = path.parent / "folder"
        if not note.exists():
            note.write_text(f"{ref.folder.resolve()}\n", encoding="utf-8")
        path.unlink(missing_ok=True)
        return Journal(path, deployment.serial)

    def has_journal(self, ref: StackRef) -> bool:
        """Whether a run was killed before it wrote the state."""
        return _journal_of(self.place(ref)).exists()

    def forget_journal(self, ref: StackRef) -> None:
        """Drop the journal of a run that changed nothing. Held locked by the caller."""
        _journal_of(self.place(ref)).unlink(missing_ok=True)

    @asynccontextmanager
    async def locked(self, ref: StackRef, wait_seconds: float = 0.0) -> AsyncIterator[None]:
        """Hold the stack against every other writer on this machine; raises Unavailable where somebody has it."""
        path = self.place(ref).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with anyio.move_on_after(wait_seconds):
                while not _taken(descriptor):  # noqa: ASYNC110 - a lock of the system's: nobody sets an event
                    await anyio.sleep(_PAUSE_SECONDS)
            if not _taken(descriptor):
                raise Unavailable(
                    f"Another run is at work on stack '{ref.stack}'.",
                    "Wait for it to end, or cancel it, then ask again.",
                )
            yield
        finally:
            os.close(descriptor)

    def stacks(self, folder: Path) -> Sequence[str]:
        """Return the names of the stacks of a project's folder that have a state."""
        place = self._folder(folder)
        names = {path.stem for path in place.glob("*.json")} | {path.stem for path in place.glob("*.journal")}
        return sorted(name for name in names if _STACK_NAME.fullmatch(name))


def backup_of(path: Path) -> Path:
    """Return where the state before the last write lies."""
    return path.with_suffix(".json.bak")


def _journal_of(path: Path) -> Path:
    return path.with_suffix(".journal")


def _read(path: Path, ref: StackRef) -> Deployment:
    try:
        if path.stat().st_size > MAX_STATE_BYTES:
            raise _damaged(path, f"it is larger than {MAX_STATE_BYTES} bytes")
        text = path.read_bytes()
    except FileNotFoundError:
        return Deployment(project="", stack=ref.stack)
    try:
        return deployment_from_json(json.loads(text), "", ref.stack)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is no JSON, cut short perhaps ({error})") from error
    except Damaged as error:
        raise _damaged(path, error.message) from error


def _damaged(path: Path, why: str) -> Damaged:
    backup = backup_of(path)
    instead = (
        f"The state before the last write is in {backup}: put it in its place, and refresh the stack."
        if backup.exists()
        else "There is no earlier state beside it: restore it from a backup of the data directory."
    )
    return Damaged(f"The state in {path} cannot be used: {why}.", instead)


def _taken(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

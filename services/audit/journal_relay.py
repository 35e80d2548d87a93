"""Brings the journal of calls into the event store, every record once.

The journal is the hub's outbox: a record is in it before the answer leaves, whether or not the store is there.
Each file becomes one stream, `hub.calls/<day>-<number>-<digest of its first record>`, and the n-th whole record of
the file the n-th event of the stream. So the stream itself says how far the relay came: a batch whose outcome a
crash left open is settled by looking, and the note of where to read on (`relay.json`) only spares reading a file
again.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.to_thread
import orjson

from quantum_suite.core.errors import Conflict, SuiteError, Unavailable
from quantum_suite.core.events import NewEvent
from quantum_suite.services.audit.call_events import call_event
from quantum_suite.services.audit.journal_files import JournalFile, decode_record, journal_files
from quantum_suite.services.encryption.file import replace_file
from quantum_suite.services.events.interface import EventStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
BATCH_RECORDS = 500
_BATCH_BYTES = 1024 * 1024
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class _Place:
    """How far a file has been brought over."""

    stream: str
    offset: int = 0
    version: int = 0
    line: int = 0
    confirmed: bool = False
    """Whether this process has seen that the stream is at `version`."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What comes next in a file."""

    events: list[NewEvent]
    offset: int
    """Where the batch ends: bytes, then lines."""
    line: int


class JournalRelay:
    """Reads the journal in `directory` and appends to `store`. Of several for one directory, one works.

    Files that grow after a later one was begun, as several hubs of one directory make them, are read on. Files
    that are removed are forgotten. Only what is on the disk is brought over, so that losing power never leaves the
    store with more than the journal.
    """

    def __init__(self, directory: Path, store: EventStore) -> None:
        self._directory = directory
        self._store = store
        self._note = directory / "relay.json"
        self._places: dict[str, _Place] = {}

    async def run(self, *, poll_seconds: float = POLL_SECONDS) -> NoReturn:
        """Go on until cancelled. While the store is away, wait; while another relay works here, stand by."""
        pause, told = poll_seconds, False
        while True:
            try:
                with relay_lock(self._directory) as mine:
                    if mine:
                        await self._work(poll_seconds)
            except (SuiteError, OSError) as error:
                if not told:
                    logger.warning("Calls stay in the journal until they can be stored: %s", error)
                told, pause = True, min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                pause, told = poll_seconds, False
            await anyio.sleep(pause)

    async def _work(self, poll_seconds: float) -> NoReturn:
        self._places = await anyio.to_thread.run_sync(_load, self._note)
        while True:
            await self.relay()
            await anyio.sleep(poll_seconds)

    async def relay_once(self) -> int:
        """Bring over what is there, and return how many records that was; 0 while another relay works here."""
        with relay_lock(self._directory) as mine:
            if not mine:
                return 0
            self._places = await anyio.to_thread.run_sync(_load, self._note)
            return await self.relay()

    async def relay(self) -> int:
        """Bring over what is there. The caller holds the lock and has read the note."""
        files = await anyio.to_thread.run_sync(journal_files, self._directory)
        relayed, before = 0, len(self._places)
        self._places = {
            name: self._places[name] for name in (file.path.name for file in files) if name in self._places
        }
        for file in files:
            relayed += await self._relay_file(file)
        if relayed or len(self._places) != before:
            await anyio.to_thread.run_sync(self._save)
        return relayed

    async def _relay_file(self, file: JournalFile) -> int:
        relayed = 0
        try:
            place = await anyio.to_thread.run_sync(self._place, file)
            if place is None:
                return 0
            if not place.confirmed:
                await self._confirm(place)
            while (batch := await anyio.to_thread.run_sync(_read, file, place)) is not None:
                relayed += await self._append(place, batch)
        except FileNotFoundError:
            logger.warning("%s was removed before all of it was in the event store.", file.path)
        except OSError as error:
            raise Unavailable(f"{file.path} cannot be read: {error.strerror}.", "Mend the disk.") from error
        return relayed

    async def _append(self, place: _Place, batch: _Batch) -> int:
        """Append a batch, except what an earlier attempt has appended already."""
        events, version = batch.events, place.version
        if events:
            try:
                await self._store.append(place.stream, version, events)
            except Conflict:
                there = await self._store.read_stream(place.stream, version, limit=len(events))
                if not there and version:
                    place.offset = place.version = place.line = 0  # a restored store has less than was noted
                    return 0
                if rest := events[len(there) :]:
                    await self._store.append(place.stream, version + len(there), rest)
        place.offset, place.line = batch.offset, batch.line
        place.version += len(batch.events)
        return len(batch.events)

    async def _confirm(self, place: _Place) -> None:
        """Find out whether the stream is as far as noted: after a restored backup it is not."""
        if place.version:
            last = await self._store.read_stream(place.stream, place.version - 1, limit=1)
            if not last:
                place.offset = place.version = place.line = 0
        place.confirmed = True

    def _place(self, file: JournalFile) -> _Place | None:
        """Return the file's place; None while it holds no whole record, or nothing new."""
        known = self._places.get(file.path.name)
        if known is not None and known.confirmed and file.path.stat().st_size == known.offset:
            return None
        first = _first_record(file.path)
        if first is None:
            return None
        digest = hashlib.sha256(first).hexdigest()[:20]
        stream = f"hub.calls/{file.day.isoformat()}-{file.number:04}-{digest}"
        if known is None or known.stream != stream:
            known = self._places[file.path.name] = _Place(stream)
        return known

    def _save(self) -> None:
        noted = {
            name: {"stream": place.stream, "offset": place.offset, "version": place.version, "line": place.line}
            for name, place in self._places.items()
        }
        try:
            replace_file(self._note, orjson.dumps(noted, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise Unavailable(f"{self._note} cannot be written: {error.strerror}.", "Free the disk.") from error


@contextmanager
def relay_lock(directory: Path) -> Iterator[bool]:
    """Take the directory's lock for the block, if nobody has it; the kernel lets go of it with the process."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / "relay.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _read(file: JournalFile, place: _Place) -> _Batch | None:
    """Read the next whole lines of a file, once they are on the disk; None where there are none."""
    with _open(file.path) as descriptor:
        if os.fstat(descriptor).st_size <= place.offset:
            return None
        os.fsync(descriptor)
        size = _BATCH_BYTES
        while b"\n" not in (chunk := os.pread(descriptor, size, place.offset)):
            if len(chunk) < size:
                return None  # the end of the last line is not written yet
            size *= 8
    chunk = chunk[: chunk.rfind(b"\n") + 1]
    events: list[NewEvent] = []
    offset, line = place.offset, place.line
    for text in chunk.splitlines(keepends=True):
        if len(events) == BATCH_RECORDS:
            break
        offset, line = offset + len(text), line + 1
        event = _event(text, file.path, line, _event_id(place.stream, place.version + len(events) + 1))
        if event is not None:
            events.append(event)
    return _Batch(events, offset, line)


def _event(text: bytes, path: Path, line: int, event_id: str) -> NewEvent | None:
    record = decode_record(text, path, line)
    if record is None:
        return None
    try:
        event = call_event(record, event_id)
    except ValueError:
        event = None
    if event is None or event.time.tzinfo is None:
        logger.warning("%s, line %d is no audit record as this release writes them; passed over.", path, line)
        return None
    return event


@contextmanager
def _open(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _first_record(path: Path) -> bytes | None:
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b"{") and line.endswith(b"}\n"):
                return line
    return None


def _event_id(stream: str, version: int) -> str:
    return f"evt_{hashlib.sha256(f'{stream} {version}'.encode()).hexdigest()[:32]}"


def _load(note: Path) -> dict[str, _Place]:
    """Read the note; one that is missing or damaged costs reading the files again, and nothing else."""
    try:
        noted = orjson.loads(note.read_bytes())
        return {
            name: _Place(str(kept["stream"]), int(kept["offset"]), int(kept["version"]), int(kept["line"]))
            for name, kept in noted.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be used (%s): the journal is read again from its beginning.", note, error)
        return {}

"""What a run did, line by line: each effect before it and after it, on the disk before the run goes on.

    <16 hex digits of the line's SHA-256> <JSON>

The first line says which state the journal is about. Then: `begin` (an operation and its resource), `end` of a
begin (what is put into the state and what is taken out of it), and bare changes of the state. A line that is cut
short at the end was never acknowledged, and does not count; anything else that does not verify is damage.
"""

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import Damaged
from quantum_suite.services.infrastructure.interface import Deployment, PendingOperation, ResourceState
from quantum_suite.services.infrastructure.state.format import resource_from_json, resource_to_json

_CHECK = 16


def key_of(resource: ResourceState) -> str:
    """Return what tells the entries of a state apart: what is still to be deleted shares its successor's URN."""
    return f"{resource.urn}\n{resource.id}" if resource.delete else resource.urn


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the state: all of it, or nothing."""

    put: Sequence[ResourceState] = ()
    drop: Sequence[str] = ()
    """By `key_of`. Dropped before anything is put."""
    settled: Sequence[str] = ()
    """URNs whose operation of an earlier run is no longer open."""


class Journal:
    """A journal that is written. Every method returns once its line is on the disk. Safe across threads."""

    def __init__(self, path: Path, serial: int) -> None:
        """Begin a journal about the state of that serial; there is none yet."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._number = 0
        self._lock = threading.Lock()
        self._write({"serial": serial})
        _sync_folder(path.parent)

    def begin(self, operation: PendingOperation) -> int:
        """Write down what is about to be done; returns its number. Secrets are sealed by the caller."""
        with self._lock:
            self._number += 1
            number = self._number
            self._write(
                {"begin": number, "type": operation.type, "resource": resource_to_json(operation.resource)}
            )
        return number

    def end(self, number: int, change: Change) -> None:
        """Write down how it ended."""
        with self._lock:
            self._write({"end": number, **_change_to_json(change)})

    def change(self, change: Change) -> None:
        """Write down a change that has no effect outside."""
        with self._lock:
            self._write(_change_to_json(change))

    def close(self) -> None:
        """Stop writing; the file stays."""
        os.close(self._file)

    def _write(self, entry: dict[str, Any]) -> None:
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        line = _checked(text) + b" " + text + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)


@dataclass(slots=True)
class _Replay:
    entries: dict[str, ResourceState]
    open: dict[int, PendingOperation] = field(default_factory=dict)

    def take(self, entry: dict[str, Any]) -> None:
        if "begin" in entry:
            operation = PendingOperation(entry["type"], resource_from_json(entry["resource"]))
            self.open[entry["begin"]] = operation
            return
        if "end" in entry:
            self.open.pop(entry["end"], None)
        for key in entry.get("drop", ()):
            self.entries.pop(key, None)
        for body in entry.get("put", ()):
            resource = resource_from_json(body)
            self.entries[key_of(resource)] = resource


def replayed(path: Path, base: Deployment) -> Deployment:
    """Return the state that `base` and its journal amount to; `base` itself where the journal is of an older one.

    Raises Damaged.
    """
    lines = _lines(path)
    if not lines or lines[0].get("serial") != base.serial:
        return base
    replay = _Replay({key_of(resource): resource for resource in base.resources})
    for entry in lines[1:]:
        replay.take(entry)
    settled = {key for entry in lines[1:] for key in entry.get("settled", ())}
    kept = tuple(operation for operation in base.pending if operation.resource.urn not in settled)
    return replace(
        base,
        resources=tuple(replay.entries.values()),
        pending=_once((*kept, *replay.open.values())),
    )


def _once(operations: Sequence[PendingOperation]) -> tuple[PendingOperation, ...]:
    """Return the operations, the newest of each resource."""
    return tuple({operation.resource.urn: operation for operation in operations}.values())


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    *lines, rest = content.split(b"\n")
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        check, _, text = line.partition(b" ")
        if check != _checked(text):
            if number == len(lines) - 1 and not rest:
                break  # Its writer died while it was written.
            raise Damaged(
                f"Line {number + 1} of the journal {path} is not what was written.",
                "Keep a copy of the file, cut it before that line, and refresh the stack: what came after is "
                "compared with the world then.",
            )
        entries.append(json.loads(text))
    return entries


def _checked(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_CHECK].encode()


def _change_to_json(change: Change) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if change.drop:
        body["drop"] = list(change.drop)
    if change.settled:
        body["settled"] = list(change.settled)
    if change.put:
        body["put"] = [resource_to_json(resource) for resource in change.put]
    return body


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

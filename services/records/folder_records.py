"""One folder a record: a JSON file that says what it is, and named files beside it, for its owner and admins.

<directory>/<prefix>_<26 characters>/<record file>
                                    /<name of a file> ...
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import anyio.to_thread

from quantum_suite.core.errors import NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal, Role
from quantum_suite.services.records.durable_files import write_durably


class OwnedRecord(Protocol):
    """What a record says at least; it is a dataclass whose fields JSON can hold."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str:
        """Its id, which is the name of its folder."""
        ...

    @property
    def owner(self) -> str:
        """The id of the principal it was kept for."""
        ...


R = TypeVar("R", bound=OwnedRecord)


@dataclass(frozen=True, slots=True)
class RecordKind(Generic[R]):
    """What is kept, and how it is spoken of."""

    prefix: str
    """What ids begin with."""
    noun: str
    """What a record is called where one is missing."""
    named_in: str
    """Where callers find ids."""
    record_file: str
    """Name of the JSON file, which no other file of the record may have."""
    keep: int
    """Kept for each owner; the oldest go first."""
    load: Callable[[Mapping[str, Any]], R]
    """Makes a record of its JSON; KeyError, TypeError and ValueError say that it is none."""


class FolderRecords(Generic[R]):
    """Keeps records with their files. A record is kept whole or not at all, and never changed."""

    def __init__(self, directory: Path, kind: RecordKind[R]) -> None:
        self._directory = directory
        self._kind = kind
        self._id = re.compile(rf"{re.escape(kind.prefix)}_[0-9a-z]{{26}}")

    def new_id(self) -> str:
        """Return the id of a record to be made; later ones sort after earlier ones."""
        return new_id(self._kind.prefix)

    async def save(self, record: R, files: Iterable[tuple[str, bytes]]) -> None:
        """Keep a record, durably once this returns, and drop its owner's oldest beyond the number kept.

        `files` are names and contents, taken one by one in a worker thread: they may be made on the way.
        """
        await anyio.to_thread.run_sync(self._write, record, files)

    async def get(self, record_id: str, reader: Principal) -> R:
        """Return a record; raises NotFound for one that is not there, or not the reader's to see."""
        known = self._id.fullmatch(record_id) is not None
        record = await anyio.to_thread.run_sync(self._read, record_id) if known else None
        if record is None or not _may_see(reader, record):
            raise self._missing(record_id)
        return record

    async def file(self, record: R, name: str) -> bytes:
        """Return a file of a record its reader was given; raises NotFound for a record dropped meanwhile.

        Raises ValueError for a name that no file of a record has. Which ones there are, the caller knows.
        """
        self._check(name)
        try:
            return await anyio.to_thread.run_sync((self._directory / record.id / name).read_bytes)
        except FileNotFoundError:
            raise self._missing(record.id) from None

    async def latest(self, reader: Principal, limit: int = 20) -> list[R]:
        """Return the newest records the reader may see, newest first."""

        def read() -> list[R]:
            found = (self._read(name) for name in sorted(self._names(), reverse=True))
            return [record for record in found if record is not None and _may_see(reader, record)][:limit]

        return await anyio.to_thread.run_sync(read)

    def _names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return [path.name for path in self._directory.iterdir() if self._id.fullmatch(path.name)]

    def _write(self, record: R, files: Iterable[tuple[str, bytes]]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            for name, content in files:
                self._check(name)
                write_durably(staged / name, content)
            told = {field.name: getattr(record, field.name) for field in fields(record)}
            write_durably(staged / self._kind.record_file, json.dumps(told, default=str).encode())
            staged.rename(self._directory / record.id)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        mine = [one for name in sorted(self._names()) if (one := self._read(name)) and one.owner == record.owner]
        for old in mine[: -self._kind.keep]:
            shutil.rmtree(self._directory / old.id, ignore_errors=True)

    def _read(self, record_id: str) -> R | None:
        try:
            told = (self._directory / record_id / self._kind.record_file).read_bytes()
            record = self._kind.load(json.loads(told))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if record.id == record_id else None

    def _check(self, name: str) -> None:
        if name in ("", "..", self._kind.record_file) or Path(name).name != name:
            raise ValueError(f"no name of a file beside a record: {name!r}")

    def _missing(self, record_id: str) -> NotFound:
        kind = self._kind
        return NotFound(
            f"There is no {kind.noun} '{record_id[:60]}'.",
            f"Take an id from {kind.named_in}; old {kind.noun}s are dropped.",
            argument="uri",
        )


def _may_see(reader: Principal, record: OwnedRecord) -> bool:
    return record.owner == reader.id or Role.ADMIN in reader.roles

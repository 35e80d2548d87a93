"""What is written beside an object's content: that it is there, where and for how long, or that it was dropped."""

import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from quantum_suite.core.errors import Damaged
from quantum_suite.services.objects.interface import ObjectInfo

CONTENTS = "sha256"
"""The folder of contents: `sha256/<2>/<62>`, then a suffix where the object was dropped before."""
RECORDS = "info"
"""The folder of records: `info/<2>/<62>`."""

_CONTENT_PATH = re.compile(CONTENTS + r"/([0-9a-f]{2})/([0-9a-f]{62})(\.[0-9a-f]+)?")


def _nonce() -> str:
    return secrets.token_hex(8)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)

    digest: str
    path: str
    """Where the content lies. Another place each time the object was dropped and put again."""
    nonce: str = Field(default_factory=_nonce)
    """Tells two writings of the same facts apart: S3 knows a version by the hash of what it holds."""


class Kept(_Record):
    """An object that is there."""

    state: Literal["kept"] = "kept"
    size: int
    media_type: str
    stored_at: datetime
    keep_until: datetime | None

    @property
    def info(self) -> ObjectInfo:
        """Return what callers are told."""
        return ObjectInfo(self.digest, self.size, self.media_type, self.stored_at, self.keep_until)

    def lasts(self, until: datetime | None) -> bool:
        """Say whether it is kept beyond then anyway; None is for ever."""
        return self.keep_until is None or (until is not None and until < self.keep_until)

    def kept_until(self, until: datetime | None) -> "Kept":
        """Return the record with a later end."""
        return self.model_copy(update={"keep_until": until, "nonce": _nonce()})

    def dropped(self, now: datetime) -> "Dropped":
        """Return the record of its end."""
        return Dropped(digest=self.digest, path=self.path, dropped_at=now)


class Dropped(_Record):
    """An object that is no longer there, though its content may be for a moment longer."""

    state: Literal["dropped"] = "dropped"
    dropped_at: datetime


_RECORDS: TypeAdapter[Kept | Dropped] = TypeAdapter(Annotated[Kept | Dropped, Field(discriminator="state")])


def encode(record: Kept | Dropped) -> bytes:
    """Return what is stored."""
    return record.model_dump_json().encode()


def decode(stored: bytes, where: str) -> Kept | Dropped:
    """Read what is stored; raises Damaged."""
    try:
        return _RECORDS.validate_json(stored)
    except ValidationError as error:
        raise Damaged(
            f"What is known of the object at {where} cannot be read.", "Put the object again."
        ) from error


def content_path(digest: str) -> str:
    """Return where content lies at first."""
    return f"{CONTENTS}/{digest[7:9]}/{digest[9:]}"


def another_content_path(digest: str) -> str:
    """Return where it lies when it may still lie, or be deleted, at the former place."""
    return f"{content_path(digest)}.{_nonce()}"


def record_path(digest: str) -> str:
    """Return where the record lies."""
    return f"{RECORDS}/{digest[7:9]}/{digest[9:]}"


def digest_at(path: str) -> str | None:
    """Return what a content path holds; None for any other path."""
    found = _CONTENT_PATH.fullmatch(path)
    return found and f"sha256:{found[1]}{found[2]}"


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)

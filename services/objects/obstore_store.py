"""Objects in a bucket: local files, S3 or memory.

The content lies under its hash; a record beside it says that it is there. Records change hands by comparing
versions, and an object that was dropped gets a new place when it is put again: putting and dropping the same
object at once leaves the object or nothing, never a record without its content.
"""

import hashlib
import math
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio
import anyio.to_thread

from quantum_suite.core.errors import CallerError, Damaged, NotFound, SuiteError, Unavailable
from quantum_suite.services.objects.bucket import INCOMING, PIECE_BYTES, Bucket
from quantum_suite.services.objects.expiry import Expiry
from quantum_suite.services.objects.interface import ObjectInfo
from quantum_suite.services.objects.record import (
    Dropped,
    Kept,
    another_content_path,
    content_path,
    decode,
    encode,
    record_path,
    utc_now,
)

MAX_BYTES = 5 * 1024**3
"""The largest object: what S3 copies in one step."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(; ?[\w.+-]{1,50}=[\w.+-]{1,100}){0,5}", re.ASCII)
_TRIES = 16
_HASHED_IN_PLACE_BYTES = 256 * 1024
_FOR_EVER_DAYS = 100 * 366


@dataclass(frozen=True, slots=True)
class _Taken:
    """Content as it was received: in memory where it is small, else in the bucket at `path`."""

    digest: str
    size: int
    content: bytes | None = None
    path: str = ""


class ObstoreObjectStore:
    """Keeps objects of up to `max_bytes` in a bucket: `open_object_store` makes one of a URL.

    An object keeps the media type it was first put with. Past its end it is there until `expire` drops it. A put
    that is cancelled leaves nothing, or the whole object if it was stored by then.
    """

    def __init__(self, bucket: Bucket, *, max_bytes: int = MAX_BYTES) -> None:
        self._bucket = bucket
        self._max_bytes = max_bytes

    async def put(
        self, content: bytes | AsyncIterator[bytes], media_type: str, *, keep_days: float | None = None
    ) -> ObjectInfo:
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise CallerError(f"{media_type[:100]!r} is no media type.", "E.g. text/plain.", argument="media_type")
        until = _end(keep_days)
        async with self._received(content) as taken:
            return await self._commit(taken, media_type, until)

    async def get(self, digest: str) -> bytes:
        return b"".join([piece async for piece in self.stream(digest)])

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        kept = await self._kept(digest)
        hasher = hashlib.sha256()
        for start in range(0, kept.size, PIECE_BYTES):
            piece = await self._piece(kept, start, min(start + PIECE_BYTES, kept.size))
            await _hash(hasher, piece)
            yield piece
        if f"sha256:{hasher.hexdigest()}" != digest:
            raise _damaged(digest)

    async def info(self, digest: str) -> ObjectInfo:
        return (await self._kept(digest)).info

    async def expire(self, now: datetime) -> int:
        pass_ = Expiry(self._bucket, now)
        await pass_.run()
        return pass_.dropped

    async def _kept(self, digest: str) -> Kept:
        if _DIGEST.fullmatch(digest):
            path = record_path(digest)
            found = await self._bucket.read_record(path)
            if found is not None and isinstance(record := decode(found[0], path), Kept):
                return record
        raise NotFound(
            f"There is no object {digest[:80]!r}.",
            "An object's name is sha256: and 64 hexadecimal digits; it may have been dropped since.",
            argument="digest",
        )

    async def _piece(self, kept: Kept, start: int, end: int) -> bytes:
        try:
            piece = await self._bucket.read(kept.path, start, end)
        except Unavailable:
            if await self._bucket.size(kept.path) != kept.size:
                raise _damaged(kept.digest) from None
            raise
        if piece is None:
            await self._kept(kept.digest)  # it may just have been dropped: then it is not there, and not damaged
        if piece is None or len(piece) != end - start:
            raise _damaged(kept.digest)
        return piece

    @asynccontextmanager
    async def _received(self, content: bytes | AsyncIterator[bytes]) -> AsyncIterator[_Taken]:
        """Hash content, and hold it where it can be stored from; nothing of it is left behind after the block."""
        pieces = _Pieces(self._max_bytes)
        if isinstance(content, bytes):
            await pieces.add(content)
            yield _Taken(pieces.digest, pieces.size, content)
            return
        head = bytearray()
        async for piece in content:
            head += await pieces.add(piece)
            if len(head) > PIECE_BYTES:
                break
        else:
            yield _Taken(pieces.digest, pieces.size, bytes(head))
            return
        path = f"{INCOMING}/{secrets.token_hex(16)}"
        try:
            async with self._bucket.receiving(path) as write:
                await write(bytes(head))
                async for piece in content:
                    await write(await pieces.add(piece))
            yield _Taken(pieces.digest, pieces.size, path=path)
        finally:
            await self._clear(path)

    async def _clear(self, path: str) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._bucket.delete(path)
            except SuiteError:
                return  # `expire` sweeps it

    async def _commit(self, taken: _Taken, media_type: str, until: datetime | None) -> ObjectInfo:
        path = record_path(taken.digest)
        for _ in range(_TRIES):
            found = await self._bucket.read_record(path)
            former = None if found is None else _readable(found[0], path)
            if isinstance(former, Kept):
                # Written anew even so: what is there may have been damaged since.
                await self._place(taken, former.path)
                if former.lasts(until):
                    return former.info
                new = former.kept_until(until)
            else:
                place = content_path(taken.digest) if found is None else another_content_path(taken.digest)
                await self._place(taken, place)
                new = Kept(
                    digest=taken.digest,
                    path=place,
                    size=taken.size,
                    media_type=media_type,
                    stored_at=utc_now(),
                    keep_until=until,
                )
            if await self._bucket.swap_record(path, encode(new), None if found is None else found[1]):
                return new.info
            if found is not None and not isinstance(former, Kept):
                await self._clear(new.path)
        raise Unavailable(f"Too many put {taken.digest} at once.", "Try again.")

    async def _place(self, taken: _Taken, path: str) -> None:
        if taken.content is None:
            await self._bucket.copy(taken.path, path, taken.size)
        else:
            await self._bucket.write(path, taken.content)


class _Pieces:
    """Tells the hash and size of content that comes piece by piece."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._hasher = hashlib.sha256()
        self.size = 0

    async def add(self, piece: bytes) -> bytes:
        """Count a piece and return it; raises CallerError when the content is too long."""
        self.size += len(piece)
        if self.size > self._max_bytes:
            raise CallerError(
                f"The content is longer than {self._max_bytes} bytes.", "Store it in parts.", argument="content"
            )
        await _hash(self._hasher, piece)
        return piece

    @property
    def digest(self) -> str:
        """Return what content of these pieces is called."""
        return f"sha256:{self._hasher.hexdigest()}"


def _readable(stored: bytes, path: str) -> Kept | Dropped | None:
    try:
        return decode(stored, path)
    except Damaged:
        return None


async def _hash(hasher: "hashlib._Hash", piece: bytes) -> None:
    if len(piece) <= _HASHED_IN_PLACE_BYTES:
        hasher.update(piece)
    else:
        await anyio.to_thread.run_sync(hasher.update, piece)


def _end(keep_days: float | None) -> datetime | None:
    if keep_days is None:
        return None
    if math.isnan(keep_days) or not 0 <= keep_days <= _FOR_EVER_DAYS:
        raise CallerError(
            f"keep_days is {keep_days}.",
            f"It is 0 to {_FOR_EVER_DAYS}, or nothing for ever.",
            argument="keep_days",
        )
    return utc_now() + timedelta(days=keep_days)


def _damaged(digest: str) -> Damaged:
    return Damaged(
        f"The content of {digest} is not what was stored.", "Put it again, or restore it from a backup."
    )

"""Drops objects whose time is over, and what puts that never ended left behind."""

import logging
from datetime import datetime, timedelta

import anyio

from quantum_suite.core.errors import Damaged, SuiteError
from quantum_suite.services.objects.bucket import Blob, Bucket
from quantum_suite.services.objects.record import (
    CONTENTS,
    RECORDS,
    Dropped,
    decode,
    digest_at,
    encode,
    record_path,
)

logger = logging.getLogger(__name__)

REMEMBERED_AFTER_DROP = timedelta(days=1)
"""How long it is remembered that an object was dropped, and how old what nobody names must be to be deleted.

Longer than any put takes.
"""

_AT_ONCE = 8


class Expiry:
    """One pass over a bucket, as of `now`. Several may be under way at once.

    An object is first recorded as dropped, then its content is deleted, then, a day later, the record: whoever
    dies in between leaves what the next pass goes on with.
    """

    def __init__(self, bucket: Bucket, now: datetime) -> None:
        self._bucket = bucket
        self._now = now
        self._long_ago = now - REMEMBERED_AFTER_DROP
        self._failures: list[SuiteError] = []
        self.dropped = 0

    async def run(self) -> None:
        """Make the pass, reading every record; raises what stopped it."""
        for folder in await self._bucket.folders(RECORDS):
            paths = [blob.path for blob in await self._bucket.list(folder)]
            limiter = anyio.CapacityLimiter(_AT_ONCE)
            async with anyio.create_task_group() as tasks:
                for path in paths:
                    await limiter.acquire_on_behalf_of(path)
                    if self._failures:
                        break
                    tasks.start_soon(self._look_at, path, limiter)
            if self._failures:
                raise self._failures[0]
        for folder in await self._bucket.folders(CONTENTS):
            for blob in await self._bucket.list(folder):
                if blob.modified_at < self._long_ago:
                    await self._drop_if_unnamed(blob)
        await self._bucket.sweep(self._long_ago)

    async def _look_at(self, path: str, limiter: anyio.CapacityLimiter) -> None:
        try:
            found = await self._bucket.read_record(path)
            if found is None:
                return
            record, version = decode(found[0], path), found[1]
            if isinstance(record, Dropped):
                if record.dropped_at < self._long_ago:
                    await self._bucket.delete(record.path)
                    await self._bucket.discard_record(path, version)
            elif record.lasts(self._now):
                return
            elif await self._bucket.swap_record(path, encode(record.dropped(self._now)), version):
                self.dropped += 1
                await self._bucket.delete(record.path)
        except Damaged as error:
            logger.error("an object's end is not known: %s", error)
        except SuiteError as error:
            self._failures.append(error)
        finally:
            limiter.release_on_behalf_of(path)

    async def _drop_if_unnamed(self, blob: Blob) -> None:
        """Delete content that no record names, and none will."""
        digest = digest_at(blob.path)
        if digest is None:
            return
        path = record_path(digest)
        found = await self._bucket.read_record(path)
        if found is None:
            # The record makes a put that begins now take another place than the one deleted next.
            ended = Dropped(digest=digest, path=blob.path, dropped_at=self._now)
            if await self._bucket.swap_record(path, encode(ended), None):
                await self._bucket.delete(blob.path)
            return
        try:
            record = decode(found[0], path)
        except Damaged:
            return
        if isinstance(record, Dropped) or record.path != blob.path:
            await self._bucket.delete(blob.path)

"""An S3 server that is away holds nothing up for long, and loses nothing."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from reference.backends import S3, running

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.objects.bucket import PIECE_BYTES
from quantum_suite.services.objects.opening import open_object_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def own_s3(backends_directory: Path) -> Iterator[S3]:
    """A server that may be killed."""
    server = S3(backends_directory / "own_s3")
    with running(server):
        yield server


async def many_pieces() -> AsyncIterator[bytes]:
    for _ in range(5):
        yield bytes(PIECE_BYTES)


async def test_a_server_that_hangs_or_died_is_unavailable_in_bounded_time(own_s3: S3) -> None:
    store = open_object_store(own_s3.url, own_s3.environment, patience_seconds=0.2)
    patient = open_object_store(own_s3.url, own_s3.environment)
    before = await patient.put(b"before", "text/plain")
    for away in (own_s3.pause, own_s3.kill):
        away()
        with anyio.fail_after(30):
            for work in (
                lambda: store.put(b"x", "text/plain"),
                lambda: store.put(many_pieces(), "text/plain"),
                lambda: store.get(before.digest),
                lambda: store.info(before.digest),
                lambda: store.expire(datetime.now(UTC)),
            ):
                with pytest.raises(Unavailable, match="s3://quantum/"):
                    await work()
        if away == own_s3.pause:
            own_s3.unpause()
            assert await patient.get(before.digest) == b"before"

"""Objects past their end are dropped by one process at a time, and again when a store was away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from quantum_suite.core.errors import NotFound
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.objects.retention import Retention

pytestmark = pytest.mark.anyio


def in_two_days() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


async def is_there(store: MemoryObjectStore, digest: str) -> bool:
    try:
        await store.info(digest)
    except NotFound:
        return False
    return True


async def test_one_of_two_processes_drops_what_is_past_its_end() -> None:
    store, leases = MemoryObjectStore(), MemoryLeaseStore()
    one, other = (Retention(store, leases, name, clock=in_two_days) for name in ("one", "other"))
    info = await store.put(b"x", "text/plain", keep_days=1)
    assert [await one.once(), await other.once(), await one.once()] == [1, 0, 0]
    assert not await is_there(store, info.digest)


async def test_it_goes_on_after_a_pass_that_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "leases.db").write_bytes(b"not a database" * 1000)
    store = MemoryObjectStore()
    info = await store.put(b"x", "text/plain", keep_days=1)
    with SqliteLeaseStore(tmp_path / "leases.db") as leases:
        retention = Retention(store, leases, "one", every_seconds=0.01, clock=in_two_days)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(retention.run)
            with anyio.fail_after(50):
                while "were not dropped" not in caplog.text:
                    await anyio.lowlevel.checkpoint()
                (tmp_path / "leases.db").unlink()
                while await is_there(store, info.digest):
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

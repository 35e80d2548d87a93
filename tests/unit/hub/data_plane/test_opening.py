"""The data plane's background on bad days: a part that fails stays alone with it."""

import logging
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import ConfigurationError, Damaged
from quantum_suite.core.events import NewEvent
from quantum_suite.core.scan_events import ScanResumed, scan_stream
from quantum_suite.hub.data_plane.opening import open_data_plane
from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio


class Failing:
    """A part that fails once in one of two ways, and then goes on."""

    def __init__(self, error: Exception) -> None:
        self._error: Exception | None = error
        self.goes_on = anyio.Event()

    async def run(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self.goes_on.set()
        await anyio.sleep_forever()


@pytest.mark.parametrize("error", [OSError(5, "the disk is broken"), Damaged("A file is damaged.")])
async def test_a_part_that_fails_is_started_again_and_takes_nothing_with_it(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(error)
    async with open_data_plane(HubSettings(data_dir=tmp_path / "data", analytics=False)) as plane:
        broken = replace(plane, journal=failing)  # type: ignore[arg-type]  # it has what is called
        with anyio.fail_after(30), caplog.at_level(logging.ERROR):
            async with anyio.create_task_group() as tasks:
                broken.run_in(tasks)
                await failing.goes_on.wait()
                tasks.cancel_scope.cancel()
    assert [record.getMessage().partition(" and")[0] for record in caplog.records] == ["The journal stopped"]


async def test_who_starts_after_a_crash_has_the_name_of_who_crashed_and_leads_at_once(tmp_path: Path) -> None:
    settings = HubSettings(data_dir=tmp_path / "data", analytics=False)
    async with open_data_plane(settings) as crashed:
        assert await crashed.stores.leases.acquire("relay", crashed.holder, 600) is not None
        async with open_data_plane(settings) as beside:
            assert await beside.stores.leases.acquire("relay", beside.holder, 600) is None
    async with open_data_plane(settings) as after:
        assert await after.stores.leases.acquire("relay", after.holder, 600) is not None


async def test_a_machine_with_keys_of_its_own_is_refused_before_it_writes_what_nobody_else_can_read(
    tmp_path: Path, postgres_url: str
) -> None:
    first, second = (
        HubSettings(data_dir=tmp_path / name, database=postgres_url, analytics=False) for name in ("one", "two")
    )
    event = NewEvent(ScanResumed(scan="s", files_left=1))
    async with open_data_plane(first) as plane:
        await plane.stores.events.append(scan_stream("s"), 0, [event])
        await plane.stores.keys.rotate()
    with pytest.raises(ConfigurationError, match="all machines of one database share them"):
        async with open_data_plane(second):
            pass
    shared = (tmp_path / "one" / "encryption-keys.json").as_uri()
    async with open_data_plane(second.model_copy(update={"encryption_keys": shared})) as plane:
        assert [found.id for found in await plane.stores.events.read()] == [event.id]

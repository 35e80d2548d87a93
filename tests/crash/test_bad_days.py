"""Bad days of the whole data plane: the disk full, the clock set back, an old holder of a lease that goes on."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from reference.backends import Nats, running
from reference.counting import counted, opened
from reference.crash_checking import check
from reference.crash_work import Order
from reference.crashing import Crew, crew
from reference.small_disk import small_disk

from quantum_suite.core.errors import Fenced
from quantum_suite.core.events import NewEvent
from quantum_suite.core.scan_events import ScanResumed, scan_stream
from quantum_suite.hub.data_plane.opening import AUDIT_CHAIN, open_data_plane
from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio

SILENT = Path(__file__).parents[1] / "reference" / "silent_client.py"
BOUND_SECONDS = 60.0
BACK_SECONDS = 3600
AWAY_SECONDS = 60 if int(os.environ.get("QUANTUM_KILLS", "0")) >= 100 else 4
"""Longer than anybody waits between two attempts; in the long run, than every lease."""

FULL = ("disk is full", "No space left on device", "disk I/O error", "File too large")
"""What SQLite, the journal and the kernel say: the last two where files must not grow, and there is room."""


def order(name: str, directory: Path, settings: HubSettings) -> Order:
    said = str(directory / f"{name}.said")
    return Order(name, name == "hub", settings.model_dump(mode="json"), str(directory), said)


async def refused(everybody: Crew, *what: frozenset[str]) -> None:
    """Return once the hub, in its present life, was refused one of each of these for the reason that there is."""
    hub = everybody.children[0]
    with anyio.fail_after(BOUND_SECONDS):
        for one in what:
            while not (found := [line for line in hub.said_now() if line.get("refused") in one]):
                everybody.look_after()
                await anyio.sleep(0.02)
            assert found[0]["code"] == "unavailable"
            assert any(words in found[0]["text"] for words in FULL), found


async def more(everybody: Crew, *kinds: str) -> None:
    """Return once more was acknowledged of each of these."""
    before = {kind: sum(kind in line for line in everybody.children[0].said()) for kind in kinds}
    with anyio.fail_after(BOUND_SECONDS):
        for kind, count in before.items():
            while sum(kind in line for line in everybody.children[0].said()) < count + 5:
                everybody.look_after()
                await anyio.sleep(0.02)


async def test_on_a_full_disk_everything_is_refused_in_plain_words_and_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    disk = small_disk(data, 32)
    settings = HubSettings(data_dir=data / "hub", analytics=False)
    async with crew([order("hub", tmp_path, settings)], tmp_path, [], "full", prefix=disk.prefix) as everybody:
        hub = everybody.children[0]
        await everybody.ready()
        await more(everybody, "appended", "recorded", "started")
        disk.fill([hub.pid])
        # Who appends writes a record of it next, and does neither while the other waits.
        await refused(everybody, frozenset({"append", "record"}), frozenset({"start"}))
        hub.kill()
        hub.start()
        disk.limit([hub.pid])
        await refused(everybody, frozenset({"open"}))
        disk.free([hub.pid])
        await everybody.ready()
        await more(everybody, "appended", "recorded", "started")
        await everybody.end()
        # SQLite looks for files where their names lead in its own process: what is checked lies where all see it.
        shutil.copytree(disk.root(everybody.fork.pid) / settings.data_dir.relative_to("/"), tmp_path / "moved")
    moved = HubSettings(data_dir=tmp_path / "moved", analytics=False)
    async with crew([order("hub", tmp_path, moved)], tmp_path, [], "full") as everybody:
        print(await check(everybody, moved, tmp_path))


async def test_a_clock_set_back_by_an_hour_loses_nothing_and_stops_nothing(tmp_path: Path) -> None:
    settings = HubSettings(data_dir=tmp_path / "data", analytics=False)
    orders = [order(name, tmp_path, settings) for name in ("hub", "worker")]
    program = ["crash_clocked.py", str(BACK_SECONDS)]
    async with crew(orders, tmp_path, [], "clock", program=program) as everybody:
        await everybody.ready()
        await more(everybody, "appended", "recorded", "started")
        everybody.set_clocks_back()
        await more(everybody, "appended", "recorded", "started")
        for child in everybody.children:
            child.kill()
            child.start()
        await everybody.ready()
        await more(everybody, "appended", "recorded", "started")
        print(await check(everybody, settings, tmp_path))


@pytest.fixture
def broker(backends_directory: Path) -> Iterator[Nats]:
    """A NATS of the test's own, to be taken away."""
    server = Nats(backends_directory / "broker")
    with running(server):
        yield server


@pytest.mark.timeout(120 + 5 * AWAY_SECONDS)
async def test_a_broker_that_is_away_with_the_leases_delays_and_loses_nothing(
    tmp_path: Path, postgres_url: str, broker: Nats
) -> None:
    settings = HubSettings(
        data_dir=tmp_path / "data", database=postgres_url, bus=broker.url, leases=broker.url, analytics=False
    )
    async with crew([order("hub", tmp_path, settings)], tmp_path, [], "broker") as everybody:
        await everybody.ready()
        await more(everybody, "appended", "recorded", "started")
        await anyio.to_thread.run_sync(broker.kill)
        await more(everybody, "appended", "recorded", "started")
        await anyio.sleep(AWAY_SECONDS)
        await anyio.to_thread.run_sync(broker.start)
        await more(everybody, "appended", "recorded", "started")
        print(await check(everybody, settings, tmp_path))


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> HubSettings:
    database = "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    return HubSettings(data_dir=tmp_path / "data", database=database, analytics=False)


async def test_an_old_holder_is_refused_wherever_it_writes_and_changes_nothing(settings: HubSettings) -> None:
    stream = scan_stream("fenced")
    async with open_data_plane(settings) as first, open_data_plane(settings) as second:
        old = await first.stores.leases.acquire(AUDIT_CHAIN, first.holder, 60)
        assert old is not None
        event = NewEvent(ScanResumed(scan="fenced", files_left=1))
        [stored] = await first.stores.events.append(stream, 0, [event], fence=old.fence)
        assert await first.chain.catch_up(old.fence) == 1
        await first.stores.progress.advance("one", stored.position, [stored.id], old.fence)
        await first.stores.leases.release(old)
        new = await second.stores.leases.acquire(AUDIT_CHAIN, second.holder, 60)
        assert new is not None

        another = NewEvent(ScanResumed(scan="fenced", files_left=2))
        await second.stores.events.append(stream, 1, [another], fence=new.fence)
        await second.chain.catch_up(new.fence)
        await second.stores.progress.advance("one", stored.position, [another.id], new.fence)

        late = NewEvent(ScanResumed(scan="fenced", files_left=3))
        with pytest.raises(Fenced, match=f"Somebody newer holds {AUDIT_CHAIN}"):
            await first.stores.events.append(stream, 2, [late], fence=old.fence)
        await second.stores.events.append(scan_stream("other"), 0, [late])
        with pytest.raises(Fenced, match="acquire the lease again"):
            await first.chain.catch_up(old.fence)
        with pytest.raises(Fenced):
            await first.stores.progress.advance("one", stored.position, [late.id], old.fence)
        assert [event.id for event in await second.stores.events.read_stream(stream)] == [event.id, another.id]
        assert (await second.stores.chain.head()).number == 2
        assert await second.stores.progress.seen("one", [stored.id, another.id, late.id]) == {
            stored.id,
            another.id,
        }


async def test_a_client_frozen_within_a_transaction_holds_nobody_up_for_long(postgres_url: str) -> None:
    stream = "tests.counter/held"
    async with opened(postgres_url) as store:
        await store.append(stream, 0, counted(1))
        command = [sys.executable, str(SILENT), postgres_url, "1", stream]
        async with await anyio.open_process(command) as silent:
            assert silent.stdout is not None
            said = BufferedByteReceiveStream(silent.stdout)
            assert await said.receive_until(b"\n", 100) == b"silent"
            with anyio.fail_after(BOUND_SECONDS):
                await store.append(stream, 1, counted(2))
                while len(await store.read()) < 2:
                    await anyio.sleep(0.02)
            silent.send_signal(signal.SIGCONT)
            assert await said.receive_until(b"\n", 100) == b"unavailable"

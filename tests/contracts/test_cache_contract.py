"""What every cache does."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from reference.backends import Valkey, running

from quantum_suite.core.errors import ConfigurationError, EngineMissing
from quantum_suite.core.ids import new_id
from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.cache.memory import MemoryCache
from quantum_suite.services.cache.sqlite import SqliteCache
from quantum_suite.services.cache.valkey import ValkeyCache
from quantum_suite.services.databases.valkey import Script, open_valkey

pytestmark = pytest.mark.anyio

HOSTILE = [
    "",
    "\x00",
    "a\r\nFLUSHALL\r\n",
    "\ud800",
    "../../etc/passwd",
    "'; DROP TABLE entries; --",
    "k" * 1_000_000,
]


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cache]:
    if request.param == "memory":
        yield MemoryCache()
    elif request.param == "sqlite":
        with SqliteCache(tmp_path / "cache.db") as cache:
            yield cache
    else:
        async with open_valkey(request.getfixturevalue("valkey_url"), timeout_seconds=5) as server:
            yield ValkeyCache(server, namespace=new_id("test"))


@pytest.fixture(params=["sqlite", "valkey"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Cache, Cache]]:
    """Two that share an engine, as two processes do."""
    if request.param == "sqlite":
        with SqliteCache(tmp_path / "cache.db") as one, SqliteCache(tmp_path / "cache.db") as other:
            yield one, other
    else:
        url, namespace = request.getfixturevalue("valkey_url"), new_id("test")
        async with open_valkey(url, timeout_seconds=5) as one, open_valkey(url, timeout_seconds=5) as other:
            yield ValkeyCache(one, namespace=namespace), ValkeyCache(other, namespace=namespace)


async def keep(cache: Cache, key: str, value: bytes, *tags: str, ttl: float = 60) -> None:
    await cache.set(key, value, ttl, await cache.stamp(*tags))


async def test_a_value_is_read_back_until_it_is_deleted(cache: Cache) -> None:
    assert await cache.get("k") is None
    await keep(cache, "k", b"one")
    assert await cache.get("k") == b"one"
    await keep(cache, "k", b"")
    assert await cache.get("k") == b""
    await cache.delete("k")
    await cache.delete("k")
    assert await cache.get("k") is None


async def test_a_value_is_gone_after_its_time(cache: Cache) -> None:
    await keep(cache, "k", b"one", ttl=0.2)
    await keep(cache, "long", b"two", ttl=1e300)
    with anyio.fail_after(25):
        while await cache.get("k") is not None:
            await anyio.lowlevel.checkpoint()
    assert await cache.get("long") == b"two"


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("-inf")])
async def test_a_value_without_a_time_to_live_is_not_kept_nor_is_the_one_before(cache: Cache, ttl: float) -> None:
    await keep(cache, "k", b"one")
    await keep(cache, "k", b"two", ttl=ttl)
    assert await cache.get("k") is None


async def test_invalidating_a_tag_drops_what_carries_it_and_nothing_else(cache: Cache) -> None:
    await keep(cache, "a", b"1", "red")
    await keep(cache, "b", b"2", "red", "blue")
    await keep(cache, "c", b"3", "blue")
    await keep(cache, "d", b"4")
    await cache.invalidate("red")
    assert [await cache.get(key) for key in "abcd"] == [None, None, b"3", b"4"]
    await cache.invalidate("red")
    await cache.invalidate("nobody")
    assert [await cache.get(key) for key in "cd"] == [b"3", b"4"]
    await keep(cache, "a", b"5", "red")
    assert await cache.get("a") == b"5"


async def test_a_tag_is_not_the_key_of_the_same_name(cache: Cache) -> None:
    await keep(cache, "same", b"1", "other")
    await cache.invalidate("same")
    assert await cache.get("same") == b"1"


async def test_what_was_found_out_before_an_invalidation_is_not_kept_after_it(cache: Cache) -> None:
    stamp = await cache.stamp("red", "blue")
    assert await cache.holds(stamp)
    await cache.invalidate("blue")
    await cache.set("k", b"old", 60, stamp)
    assert await cache.get("k") is None
    assert not await cache.holds(stamp)


async def test_a_late_set_does_not_replace_what_was_found_out_since(cache: Cache) -> None:
    stamp = await cache.stamp("red")
    await cache.invalidate("red")
    await keep(cache, "k", b"new", "red")
    await cache.set("k", b"old", 60, stamp)
    assert await cache.get("k") == b"new"


async def test_a_stamp_holds_while_other_tags_are_invalidated(cache: Cache) -> None:
    stamp = await cache.stamp("red")
    await cache.invalidate("blue")
    assert await cache.holds(stamp)
    await cache.set("k", b"1", 60, stamp)
    assert await cache.get("k") == b"1"


async def test_keys_and_tags_may_hold_anything(cache: Cache) -> None:
    for number, text in enumerate(HOSTILE):
        await keep(cache, text, str(number).encode(), text, "all")
    assert [await cache.get(text) for text in HOSTILE] == [str(n).encode() for n in range(len(HOSTILE))]
    for text in HOSTILE:
        await cache.invalidate(text)
        assert await cache.get(text) is None


async def test_a_value_beyond_the_bound_is_not_kept_nor_is_the_one_before(cache: Cache) -> None:
    await keep(cache, "k", b"small")
    await keep(cache, "k", bytes(100 * 1024 * 1024))
    assert await cache.get("k") is None
    await keep(cache, "large", bytes(1024 * 1024))
    assert await cache.get("large") == bytes(1024 * 1024)


async def test_nothing_stale_is_read_while_many_set_and_invalidate(cache: Cache) -> None:
    truth = 0

    async def read_through() -> None:
        for _ in range(15):
            least = truth
            kept = await cache.get("k")
            if kept is not None:
                assert int(kept) >= least
                continue
            stamp = await cache.stamp("red")
            found = truth
            await anyio.lowlevel.checkpoint()
            await cache.set("k", str(found).encode(), 60, stamp)

    async def change() -> None:
        nonlocal truth
        for number in range(1, 31):
            await cache.invalidate("red")
            truth = number
            await cache.invalidate("red")

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(read_through)
        tasks.start_soon(change)


async def test_what_one_process_keeps_and_invalidates_holds_for_the_other(pair: tuple[Cache, Cache]) -> None:
    one, other = pair
    await keep(one, "k", b"1", "red")
    assert await other.get("k") == b"1"
    await other.invalidate("red")
    assert await one.get("k") is None
    stamp = await one.stamp("red")
    await other.invalidate("red")
    await one.set("k", b"old", 60, stamp)
    assert await other.get("k") is None
    assert not await one.holds(stamp)


async def test_a_cancelled_invalidation_is_made_up_for_before_anything_is_read(cache: Cache) -> None:
    await keep(cache, "k", b"1", "red")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await cache.invalidate("red")
    assert await cache.get("k") is None


# In memory


async def test_memory_is_bounded_by_entries_and_bytes_and_the_latest_used_stay() -> None:
    cache = MemoryCache(max_entries=3, max_bytes=1000)
    for key in "abc":
        await keep(cache, key, b"x", "red")
    assert await cache.get("a") == b"x"
    await keep(cache, "d", b"x")
    assert [await cache.get(key) for key in "abcd"] == [b"x", None, b"x", b"x"]
    await keep(cache, "e", bytes(996))
    assert [await cache.get(key) is None for key in "acde"] == [True, True, False, False]
    await keep(cache, "f", bytes(999))
    assert [await cache.get(key) is None for key in "acdef"] == [True, True, True, True, False]


# In SQLite


async def test_the_file_is_bounded_and_the_oldest_make_room(tmp_path: Path) -> None:
    with SqliteCache(tmp_path / "cache.db", max_bytes=1000) as cache:
        for key in "abcd":
            await keep(cache, key, bytes(300))
        assert [await cache.get(key) is None for key in "abcd"] == [True, False, False, False]
        await keep(cache, "a", bytes(1000))
        assert [await cache.get(key) is None for key in "abcd"] == [False, True, True, True]
        await cache.invalidate("none")
        await keep(cache, "a", bytes(100))
        await keep(cache, "b", bytes(900))
        assert [await cache.get(key) is None for key in "ab"] == [False, False]


async def test_nobody_else_on_the_machine_can_read_the_file(tmp_path: Path) -> None:
    with SqliteCache(tmp_path / "cache.db") as cache:
        await keep(cache, "k", b"secret")
        modes = [file.stat().st_mode & 0o777 for file in tmp_path.glob("cache.db*")]
        assert set(modes) == {0o600}


async def test_after_a_restart_of_the_machine_the_file_begins_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteCache(tmp_path / "cache.db") as cache:
        await keep(cache, "k", b"1", "red")
        stamp = await cache.stamp("red")
        await cache.invalidate("red")
    monkeypatch.setattr("quantum_suite.services.databases.volatile.boot_id", lambda: "another")
    for _ in range(2):
        with SqliteCache(tmp_path / "cache.db") as cache:
            assert await cache.get("k") is None
            assert not await cache.holds(stamp)
            await keep(cache, "new", b"2")
    with SqliteCache(tmp_path / "cache.db") as cache:
        assert await cache.get("new") == b"2"


async def test_a_damaged_file_counts_as_empty_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache.db").write_bytes(b"not a database" * 1000)
    with SqliteCache(tmp_path / "cache.db", rest_seconds=0) as cache:
        for _ in range(3):
            await keep(cache, "k", b"1", "red")
            assert await cache.get("k") is None
            await cache.invalidate("red")
    assert [record.message for record in caplog.records if "damaged" in record.message] == [caplog.messages[0]]


FULL_DISK = """
import anyio, resource, sys
from pathlib import Path
from quantum_suite.services.cache.sqlite import SqliteCache

async def main():
    with SqliteCache(Path(sys.argv[1]), rest_seconds=0) as cache:
        await cache.set("k", b"1", 60, await cache.stamp("red"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1 << 40))
        await cache.set("more", bytes(1_000_000), 60, await cache.stamp())
        await cache.invalidate("red")
        assert await cache.get("k") is None, "stale"
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
        assert await cache.get("k") is None, "stale after"
        await cache.set("k", b"2", 60, await cache.stamp("red"))
        assert await cache.get("k") == b"2"

anyio.run(main)
"""


async def test_on_a_full_disk_nothing_is_kept_nothing_stale_is_read_and_it_recovers(tmp_path: Path) -> None:
    done = await anyio.run_process([sys.executable, "-c", FULL_DISK, str(tmp_path / "cache.db")], check=False)
    assert (done.returncode, done.stderr.count(b" is away")) == (0, 1), done.stderr


OTHER_PROCESS = """
import anyio, sys
from pathlib import Path
from quantum_suite.services.cache.sqlite import SqliteCache

async def main():
    with SqliteCache(Path(sys.argv[1])) as cache:
        print("up", flush=True)
        while True:
            await cache.set("k", b"theirs", 60, await cache.stamp("red"))
            await cache.invalidate("red")

anyio.run(main)
"""


async def test_a_process_killed_while_it_writes_leaves_a_file_the_others_go_on_with(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with SqliteCache(path, rest_seconds=0) as cache:
        for _ in range(3):
            with subprocess.Popen(
                [sys.executable, "-c", OTHER_PROCESS, str(path)], stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"up\n"
                for number in range(20):
                    await keep(cache, f"own {number}", b"1")
                process.kill()
            await keep(cache, "k", b"mine", "red")
            assert await cache.get("k") == b"mine"


# On Valkey


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Valkey]:
    """A server that may be killed."""
    server = Valkey(tmp_path / "valkey")
    with running(server):
        yield server


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    with anyio.fail_after(30):
        while not await condition():
            await anyio.lowlevel.checkpoint()


async def test_a_server_that_hangs_is_asked_by_one_call_at_a_time_and_owed_what_was_invalidated(
    own_server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_valkey(own_server.url, timeout_seconds=0.2) as server:
        cache = ValkeyCache(server, rest_seconds=0.5)
        await keep(cache, "k", b"old", "red")
        await keep(cache, "other", b"1", "blue")
        stamp = await cache.stamp("red")
        own_server.pause()
        assert await cache.get("k") is None
        with anyio.fail_after(25):
            for _ in range(5000):
                assert await cache.get("k") is None
        await cache.invalidate("red")
        await cache.set("k", b"older", 60, stamp)
        assert (await cache.stamp("red")).state == ()
        own_server.unpause()
        await until(lambda: cache.get("other"))
        assert await cache.get("k") is None
        assert not await cache.holds(stamp)
        await keep(cache, "k", b"new", "red")
        assert await cache.get("k") == b"new"
    about = [message for message in caplog.messages if "Valkey" in message]
    assert len([message for message in about if "is away, the cache counts as empty" in message]) == 1
    assert own_server.url.partition("//")[2].partition("/")[0] in about[0]


async def test_a_server_that_is_away_at_first_is_used_once_it_is_there(own_server: Valkey) -> None:
    own_server.kill()
    async with open_valkey(own_server.url) as server:
        cache = ValkeyCache(server, rest_seconds=0)
        await keep(cache, "k", b"1")
        assert await cache.get("k") is None
        own_server.start()
        await keep(cache, "k", b"2")
        assert await cache.get("k") == b"2"
        own_server.kill()
        assert await cache.get("k") is None
        own_server.start()
        assert await cache.get("k") is None
        await keep(cache, "k", b"3")
        assert await cache.get("k") == b"3"


async def test_what_a_restarted_server_read_from_its_disk_counts_no_longer(own_server: Valkey) -> None:
    async with open_valkey(own_server.url, timeout_seconds=5) as server:
        cache = ValkeyCache(server, rest_seconds=0)
        await keep(cache, "k", b"old", "red")
        stamp = await cache.stamp("red")
        with socket.create_connection(("127.0.0.1", own_server.port)) as connection:
            connection.sendall(b"SAVE\r\n")
            assert connection.recv(64) == b"+OK\r\n"
        await cache.invalidate("red")
        own_server.kill()
        own_server.start()
        assert await cache.get("k") is None
        assert not await cache.holds(stamp)
        await cache.set("k", b"old", 60, stamp)
        assert await cache.get("k") is None
        await keep(cache, "k", b"new", "red")
        assert await cache.get("k") == b"new"


async def test_tags_and_scripts_that_the_server_forgot_cost_a_miss_and_nothing_more(valkey_url: str) -> None:
    namespace = new_id("test")
    async with open_valkey(valkey_url, timeout_seconds=5) as server:
        cache = ValkeyCache(server, namespace=namespace)
        await keep(cache, "k", b"1", "red")
        forget = Script("for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end")
        await server.run(forget, [], [f"{{{namespace}}}:tag:*".encode()])
        assert await cache.get("k") is None
        await keep(cache, "k", b"2", "red")
        assert await cache.get("k") == b"2"


async def test_two_namespaces_on_one_server_know_nothing_of_each_other(valkey_url: str) -> None:
    async with open_valkey(valkey_url, timeout_seconds=5) as server:
        one, other = (ValkeyCache(server, namespace=new_id("test")) for _ in range(2))
        await keep(one, "k", b"1", "red")
        assert await other.get("k") is None
        await other.invalidate("red")
        assert await one.get("k") == b"1"


async def test_more_invalidations_than_are_remembered_drop_everything(own_server: Valkey) -> None:
    async with open_valkey(own_server.url, timeout_seconds=0.2) as server:
        cache = ValkeyCache(server, rest_seconds=0.5)
        await keep(cache, "k", b"1", "tag 5")
        await keep(cache, "unrelated", b"2")
        own_server.pause()
        for number in range(10_001):
            await cache.invalidate(f"tag {number}")
        own_server.unpause()
        await until(lambda: kept_anew(cache))
        assert await cache.get("k") is None
        assert await cache.get("unrelated") is None


async def kept_anew(cache: Cache) -> bool:
    await keep(cache, "new", b"3")
    return await cache.get("new") == b"3"


async def test_a_wrong_password_is_an_outage_that_is_logged_without_it(
    valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_valkey(valkey_url.replace("//", "//:hunter2@")) as server:
        cache = ValkeyCache(server)
        await keep(cache, "k", b"1")
        assert await cache.get("k") is None
    assert len(caplog.messages) == 1
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("url", ["http://host", "valkey://host:port", "valkey://host?db=x", ""])
async def test_a_url_that_cannot_be_used_is_named_as_a_setting(url: str) -> None:
    with pytest.raises(ConfigurationError):
        async with open_valkey(url):
            pass


async def test_a_missing_client_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "valkey.asyncio", None)
    with pytest.raises(EngineMissing, match=r'pip install "quantum-suite\[valkey\]"'):
        async with open_valkey("valkey://host"):
            pass

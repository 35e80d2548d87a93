"""What every object store does."""

import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from reference.backends import S3

from quantum_suite.core.errors import CallerError, ConfigurationError, Damaged, NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.services.objects.bucket import PIECE_BYTES, Blob, Bucket
from quantum_suite.services.objects.interface import ObjectInfo
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.objects.obstore_store import ObstoreObjectStore
from quantum_suite.services.objects.opening import open_object_store
from quantum_suite.services.objects.record import Kept, decode, encode, record_path

pytestmark = pytest.mark.anyio

LARGE = 2 * PIECE_BYTES + 12_345


def s3_url(server: S3) -> str:
    """A prefix of the test's own."""
    return server.url.replace("/test?", f"/{new_id('test')}?")


@pytest.fixture(params=["memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObstoreObjectStore:
    if request.param == "memory":
        return MemoryObjectStore()
    if request.param == "file":
        return open_object_store(f"file://{tmp_path}/objects", {})
    server = request.getfixturevalue("s3_server")
    return open_object_store(s3_url(server), server.environment)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def in_pieces(content: bytes, size: int = 1_000_003) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await anyio.lowlevel.checkpoint()


async def blobs(store: ObstoreObjectStore, top: str = "sha256") -> list[Blob]:
    folders = await store._bucket.folders(top)
    return [blob for folder in folders for blob in await store._bucket.list(folder)]


async def kept(store: ObstoreObjectStore, digest: str) -> Kept:
    found = await store._bucket.read_record(record_path(digest))
    assert found is not None
    record = decode(found[0], digest)
    assert isinstance(record, Kept)
    return record


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("content", [b"", b"x", b"\x00\xff" * 70_000])
async def test_content_is_read_back_under_its_hash(store: ObstoreObjectStore, content: bytes) -> None:
    before = now()
    info = await store.put(content, "text/plain; charset=utf-8", keep_days=2)
    assert info.digest == digest_of(content)
    assert (info.size, info.media_type) == (len(content), "text/plain; charset=utf-8")
    assert info.keep_until is not None
    assert before <= info.stored_at <= now()
    assert before + timedelta(days=2) <= info.keep_until <= now() + timedelta(days=2)
    assert await store.info(info.digest) == info
    assert await store.get(info.digest) == content
    assert b"".join([piece async for piece in store.stream(info.digest)]) == content


@pytest.mark.parametrize("size", [0, 5, PIECE_BYTES, LARGE])
async def test_content_of_unknown_length_is_stored_as_it_comes(store: ObstoreObjectStore, size: int) -> None:
    content = os.urandom(size)
    info = await store.put(in_pieces(content), "application/octet-stream")
    assert (info.digest, info.size, info.keep_until) == (digest_of(content), size, None)
    assert await store.get(info.digest) == content
    assert await store._bucket.list("incoming") == []
    again = await store.put(content, "application/octet-stream")
    assert again == info
    assert len(await blobs(store)) == 1


async def test_a_long_object_is_read_in_pieces(store: ObstoreObjectStore) -> None:
    content = os.urandom(LARGE)
    info = await store.put(content, "application/octet-stream")
    pieces = [piece async for piece in store.stream(info.digest)]
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= PIECE_BYTES


async def test_the_same_content_is_stored_once_and_keeps_what_was_said_first(store: ObstoreObjectStore) -> None:
    first = await store.put(b"same", "text/plain")
    second = await store.put(b"same", "application/json", keep_days=1)
    assert second == first
    assert len(await blobs(store)) == 1


async def test_putting_again_only_lengthens_the_time(store: ObstoreObjectStore) -> None:
    short = await store.put(b"x", "text/plain", keep_days=1)
    long = await store.put(b"x", "text/plain", keep_days=10)
    assert long.keep_until is not None
    assert short.keep_until is not None
    assert long.keep_until > short.keep_until + timedelta(days=8)
    assert long.stored_at == short.stored_at
    assert await store.put(b"x", "text/plain", keep_days=5) == long
    assert await store.info(long.digest) == long
    assert (await store.put(b"x", "text/plain")).keep_until is None
    assert (await store.put(b"x", "text/plain", keep_days=10)).keep_until is None


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:" + "0" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "A" * 64,
        "sha512:" + "0" * 64,
        "sha256:../../../../../../etc/passwd",
        "sha256:" + "../" * 21 + "a",
        "sha256:" + "0" * 64 + "\n",
        "sha256:" + "0" * 62 + "/..",
        "\x00",
        "\ud800",
        "sha256:" + "٣" * 64,
        "x" * 1_000_000,
    ],
)
async def test_what_is_not_there_or_no_name_at_all_is_not_found(store: ObstoreObjectStore, digest: str) -> None:
    for work in (store.get, store.info):
        with pytest.raises(NotFound) as caught:
            await work(digest)
        assert caught.value.argument == "digest"
        assert len(str(caught.value)) < 1000
    with pytest.raises(NotFound):
        [piece async for piece in store.stream(digest)]


@pytest.mark.parametrize("media_type", ["", "text", "text/", "a/b\r\nX: y", "a/b; c", "a" * 200 + "/b", "ü/x"])
async def test_a_media_type_that_is_none_is_refused(store: ObstoreObjectStore, media_type: str) -> None:
    with pytest.raises(CallerError) as caught:
        await store.put(b"x", media_type)
    assert caught.value.argument == "media_type"


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), 1e300])
async def test_a_time_that_cannot_be_is_refused(store: ObstoreObjectStore, days: float) -> None:
    with pytest.raises(CallerError) as caught:
        await store.put(b"x", "text/plain", keep_days=days)
    assert caught.value.argument == "keep_days"


async def test_content_beyond_the_bound_is_refused_and_leaves_nothing(store: ObstoreObjectStore) -> None:
    small = ObstoreObjectStore(store._bucket, max_bytes=PIECE_BYTES + 10)
    for content in (bytes(PIECE_BYTES + 11), in_pieces(bytes(LARGE))):
        with pytest.raises(CallerError) as caught:
            await small.put(content, "text/plain")
        assert caught.value.argument == "content"
    assert await small._bucket.list("incoming") == []
    assert await blobs(store) == await blobs(store, "info") == []


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_source_that_fails_leaves_nothing_and_its_error_is_the_callers(
    store: ObstoreObjectStore, size: int
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        async for piece in in_pieces(bytes(size)):
            yield piece
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        await store.put(failing(), "text/plain")
    assert await store._bucket.list("incoming") == []
    assert await blobs(store) == await blobs(store, "info") == []


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_cancelled_put_leaves_nothing(store: ObstoreObjectStore, size: int) -> None:
    async with anyio.create_task_group() as tasks:

        async def endless() -> AsyncIterator[bytes]:
            async for piece in in_pieces(bytes(size)):
                yield piece
            tasks.cancel_scope.cancel()
            await anyio.sleep_forever()

        tasks.start_soon(store.put, endless(), "text/plain")
    assert await store._bucket.list("incoming") == []
    assert await blobs(store) == await blobs(store, "info") == []


async def test_many_putting_the_same_at_once_store_it_once_for_the_longest_time(store: ObstoreObjectStore) -> None:
    infos: list[ObjectInfo] = []

    async def put(days: int) -> None:
        infos.append(await store.put(b"same", "text/plain", keep_days=days))

    async with anyio.create_task_group() as tasks:
        for days in range(1, 7):
            tasks.start_soon(put, days)
    assert len(await blobs(store)) == 1
    info = await store.info(digest_of(b"same"))
    assert info.keep_until == max(info.keep_until for info in infos if info.keep_until)
    assert len({info.stored_at for info in infos}) == 1


# Expiry


async def test_what_is_past_its_end_is_dropped_and_nothing_else(store: ObstoreObjectStore) -> None:
    ends = [await store.put(f"{days}".encode(), "text/plain", keep_days=days) for days in (1, 2)]
    stays = await store.put(b"for ever", "text/plain")
    assert await store.expire(now()) == 0
    assert await store.expire(now() + timedelta(days=1.5)) == 1
    with pytest.raises(NotFound):
        await store.get(ends[0].digest)
    with pytest.raises(NotFound):
        await store.info(ends[0].digest)
    assert await store.get(ends[1].digest) == b"2"
    assert await store.expire(now() + timedelta(days=1.5)) == 0
    assert await store.expire(now() + timedelta(days=5000)) == 1
    assert await store.get(stays.digest) == b"for ever"
    assert await store.expire(now() + timedelta(days=5002)) == 0
    assert (len(await blobs(store)), len(await blobs(store, "info"))) == (1, 1)


async def test_what_was_dropped_can_be_put_again_and_has_a_new_life(store: ObstoreObjectStore) -> None:
    for _ in range(3):
        old = await store.put(b"x", "text/plain", keep_days=1)
        assert await store.expire(now() + timedelta(days=1.5)) == 1
        new = await store.put(b"x", "text/html", keep_days=3)
        assert new.media_type == "text/html"
        assert new.stored_at > old.stored_at
        assert await store.get(new.digest) == b"x"
        assert await store.expire(now() + timedelta(days=2.5)) == 0
        assert await store.get(new.digest) == b"x"
        assert len(await blobs(store)) == 1
        assert await store.expire(now() + timedelta(days=4)) == 1


class Meddling(Bucket):
    """Does something in between, at the most awkward moment: just before a record is swapped."""

    def __init__(self, bucket: Bucket, meddle: Callable[[], Awaitable[object]]) -> None:
        self._bucket = bucket
        self._meddle: Callable[[], Awaitable[object]] | None = meddle

    def __getattribute__(self, name: str) -> object:
        if name in ("_bucket", "_meddle", "swap_record"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_bucket"), name)

    async def swap_record(self, path, record, expected):  # type: ignore[no-untyped-def]  # as the bucket's
        if self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            await meddle()
        return await self._bucket.swap_record(path, record, expected)


async def test_a_put_that_crosses_a_drop_is_kept_with_its_content(store: ObstoreObjectStore) -> None:
    later = now() + timedelta(days=1.5)
    await store.put(b"x", "text/plain", keep_days=1)
    crossed = ObstoreObjectStore(Meddling(store._bucket, lambda: store.expire(later)))
    info = await crossed.put(b"x", "text/plain", keep_days=3)
    assert await store.get(info.digest) == b"x"
    assert await store.expire(later) == 0
    assert await store.get(info.digest) == b"x"


async def test_a_drop_that_crosses_a_put_leaves_what_was_put(store: ObstoreObjectStore) -> None:
    later = now() + timedelta(days=1.5)
    await store.put(b"x", "text/plain", keep_days=1)

    async def put() -> None:
        await store.put(b"x", "text/plain", keep_days=3)

    crossed = ObstoreObjectStore(Meddling(store._bucket, put))
    assert await crossed.expire(later) == 0
    assert await store.get(digest_of(b"x")) == b"x"


async def test_a_put_that_crosses_a_put_loses_nothing(store: ObstoreObjectStore) -> None:
    async def put() -> None:
        await store.put(b"x", "text/plain", keep_days=30)

    crossed = ObstoreObjectStore(Meddling(store._bucket, put))
    info = await crossed.put(b"x", "text/plain", keep_days=3)
    assert info.keep_until is not None
    assert info.keep_until > now() + timedelta(days=29)
    assert len(await blobs(store)) == 1


async def test_what_unended_puts_and_drops_left_is_swept_after_a_day(store: ObstoreObjectStore) -> None:
    stays = await store.put(b"stays", "text/plain")
    ends = await store.put(b"ends", "text/plain", keep_days=1)
    bucket = store._bucket
    await bucket.write("incoming/abc", b"half a put")
    await bucket.write(f"sha256/ab/{'0' * 62}", b"content without a record")
    await bucket.write(f"sha256/ab/{'1' * 62}.00ff", b"content without a record")
    record = await kept(store, ends.digest)
    found = await bucket.read_record(record_path(ends.digest))
    assert found is not None
    assert await bucket.swap_record(record_path(ends.digest), encode(record.dropped(now())), found[1])
    assert await store.expire(now() + timedelta(hours=23)) == 0
    assert len(await blobs(store)) == 4
    for _ in range(2):
        assert await store.expire(now() + timedelta(hours=25)) == 0
    assert [blob.path for blob in await blobs(store)] == [(await kept(store, stays.digest)).path]
    assert await bucket.list("incoming") == []
    assert await store.expire(now() + timedelta(days=3)) == 0
    assert len(await blobs(store, "info")) == 1


# Damage


async def test_content_that_was_altered_cut_short_or_lost_is_damaged_and_putting_it_again_mends_it(
    store: ObstoreObjectStore,
) -> None:
    content = os.urandom(PIECE_BYTES + 1000)
    info = await store.put(content, "text/plain")
    path = (await kept(store, info.digest)).path

    async def damaged() -> None:
        with pytest.raises(Damaged):
            await store.get(info.digest)
        with pytest.raises(Damaged):
            [piece async for piece in store.stream(info.digest)]
        assert (await store.put(content, "text/plain")) == info
        assert await store.get(info.digest) == content

    for altered in (b"\x00" + content[1:], content[:-1], content[:100], b""):
        await store._bucket.write(path, altered)
        await damaged()
    await store._bucket.delete(path)
    await damaged()


@pytest.mark.parametrize("record", [b"", b"{}", b"\xff", b'{"state": "kept"}', b'{"state": "of a later release"}'])
async def test_a_record_that_cannot_be_read_is_damaged_stops_no_other_and_is_mended(
    store: ObstoreObjectStore, record: bytes
) -> None:
    info = await store.put(b"x", "text/plain")
    await store.put(b"ends", "text/plain", keep_days=1)
    found = await store._bucket.read_record(record_path(info.digest))
    assert found is not None
    assert await store._bucket.swap_record(record_path(info.digest), record, found[1])
    for work in (store.get, store.info):
        with pytest.raises(Damaged):
            await work(info.digest)
    assert await store.expire(now() + timedelta(days=5)) == 1
    await store.put(b"x", "text/plain")
    assert await store.get(info.digest) == b"x"


# Local files


@pytest.fixture
def files(tmp_path: Path) -> ObstoreObjectStore:
    return open_object_store(f"file://{tmp_path}/objects", {})


async def test_nobody_else_on_the_machine_can_read_the_files(files: ObstoreObjectStore, tmp_path: Path) -> None:
    await files.put(b"small", "text/plain")
    await files.put(in_pieces(bytes(LARGE)), "text/plain")
    for path in (tmp_path / "objects").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


async def test_a_put_is_synced_before_it_returns(files: ObstoreObjectStore, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def] # a fixture's type
    synced: set[Path] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    for content in (b"small", in_pieces(bytes(LARGE))):
        info = await files.put(content, "text/plain")
        stored = [
            tmp_path / "objects" / path
            for path in (record_path(info.digest), (await kept(files, info.digest)).path)
        ]
        for path in stored:
            assert {path, path.parent, path.parent.parent, tmp_path / "objects"} <= synced


FULL_DISK = """
import anyio, resource, sys
from quantum_suite.core.errors import NotFound, Unavailable
from quantum_suite.services.objects.opening import open_object_store

async def pieces(size):
    for _ in range(size // 1_000_000):
        yield bytes(1_000_000)

async def main():
    store = open_object_store(sys.argv[1], {})
    await store.put(b"before", "text/plain")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 1 << 40))
    for content in (bytes(200_000), pieces(20_000_000)):
        try:
            await store.put(content, "text/plain")
        except Unavailable as error:
            print(error)
        else:
            raise SystemExit("stored")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
    await store.put(bytes(200_000), "text/plain")

anyio.run(main)
"""


async def test_a_full_disk_is_unavailable_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    done = await anyio.run_process([sys.executable, "-c", FULL_DISK, f"file://{tmp_path}/objects"], check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"cannot be used now") == 2
    sizes = sorted(file.stat().st_size for file in (tmp_path / "objects" / "sha256").rglob("*") if file.is_file())
    assert sizes == [6, 200_000]
    assert not [file for file in (tmp_path / "objects" / "incoming").rglob("*") if file.is_file()]


PUT_MANY = """
import anyio, itertools, sys
from quantum_suite.services.objects.opening import open_object_store

async def pieces(number):
    for _ in range(10):
        yield number.to_bytes(4, "big") * 250_000

async def main():
    store = open_object_store(sys.argv[1], {})
    for number in itertools.count():
        info = await store.put(pieces(number) if number % 5 == 0 else b"%d" % number, "text/plain", keep_days=1)
        print(info.digest, flush=True)

anyio.run(main)
"""


async def test_a_process_killed_while_it_puts_loses_nothing_it_had_put_and_leaves_no_half_objects(
    files: ObstoreObjectStore, tmp_path: Path
) -> None:
    put: set[str] = set()
    for kill_after in (3, 6):
        with subprocess.Popen(
            [sys.executable, "-c", PUT_MANY, f"file://{tmp_path}/objects"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            put |= {process.stdout.readline().strip() for _ in range(kill_after)}
            process.kill()
            put |= {line.strip() for line in process.stdout if line.endswith("\n")}
    for digest in put:
        await files.get(digest)
    for blob in await blobs(files, "info"):
        await files.get("sha256:" + blob.path.removeprefix("info/").replace("/", ""))
    assert await files.expire(now() + timedelta(days=2)) >= len(put)
    await files.expire(now() + timedelta(days=4))
    assert not [path for path in (tmp_path / "objects").rglob("*") if path.is_file() and path.name != ".lock"]


LENGTHEN = """
import anyio, sys
from quantum_suite.services.objects.opening import open_object_store

async def main():
    store = open_object_store(sys.argv[1], {})
    for days in range(int(sys.argv[2]), 60, 2):
        await store.put(b"same", "text/plain", keep_days=days)

anyio.run(main)
"""


async def test_two_processes_lengthen_one_object_and_the_longest_time_stays(
    files: ObstoreObjectStore, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LENGTHEN, f"file://{tmp_path}/objects"]
    processes = [subprocess.Popen([*command, first]) for first in ("1", "2")]
    assert [process.wait(60) for process in processes] == [0, 0]
    info = await files.info(digest_of(b"same"))
    assert info.keep_until is not None
    assert info.keep_until > now() + timedelta(days=58.9)


# S3


async def test_a_wrong_key_is_a_setting_to_mend(s3_server: S3) -> None:
    wrong = {"AWS_ACCESS_KEY_ID": "quantum", "AWS_SECRET_ACCESS_KEY": "wrong"}
    store = open_object_store(s3_url(s3_server), wrong)
    for work in (lambda: store.put(b"x", "text/plain"), lambda: store.info(digest_of(b"x"))):
        with pytest.raises(ConfigurationError, match="refuses access"):
            await work()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "objects",
        "file://host/dir",
        "file:relative",
        "http://host/bucket",
        "s3://",
        "s3://bucket?secret=x",
        "s3://bucket?endpoint=not a url",
        "file:///proc/none/such",
    ],
)
def test_a_url_that_cannot_be_used_is_named_as_a_setting(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_object_store(url, {})

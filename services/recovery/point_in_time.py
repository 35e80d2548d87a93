"""The point-in-time drill: a primary is lost, and a sealed backup and sealed WAL bring a moment of it back."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from quantum_suite.core.errors import EngineError
from quantum_suite.services.recovery.archive import ArchiveDesk, WalArchive
from quantum_suite.services.recovery.backup import (
    SealedBackup,
    backup_command,
    open_backup,
    take_backup,
    unpack,
    verify,
)
from quantum_suite.services.recovery.cluster import Cluster
from quantum_suite.services.recovery.counting import Cut, cut_between, cut_of
from quantum_suite.services.recovery.course import ROWS_AFTER, Course, writing
from quantum_suite.services.recovery.interface import RowCount
from quantum_suite.services.recovery.polling import until
from quantum_suite.services.recovery.writers import Endpoint, Writers

STEPS = 10
_ARCHIVE_SECONDS = 120.0
_REPLAY_SECONDS = 3_600.0
_NAME = "drill"

Tamper = Callable[[SealedBackup, WalArchive], None]
"""Changes what is stored, between disaster and restore."""


async def drill_point_in_time(course: Course, primary: Cluster, tamper: Tamper = lambda *_: None) -> RowCount:
    """Drill with a primary that is made, and not running; returns every row accounted for."""
    archive = WalArchive(course.folder / "wal", course.key, course.drill)
    with ArchiveDesk(archive, primary.data, primary.home / "archiving") as desk:
        primary.configure({**primary.settings, "archive_mode": "on", "archive_command": desk.archive_command})
        await primary.start()
        await course.prepare(primary)
        endpoint = Endpoint(primary.conninfo)
        async with writing(course, endpoint) as writers:
            backup = await _back_up(course, primary, writers)
            cuts, target = await _name_point(course, primary, writers)
            await _archived(course, primary, archive)
            if cuts is None:
                # What is written now is not in the archive yet when the primary is lost: its recovery point.
                await course.acknowledged(writers, writers.count + ROWS_AFTER)
            await course.step("The disaster: the primary and its disk are lost")
            course.disaster_at = time.time()
            primary.kill()
            await primary.end()
            tamper(backup, archive)
            restored = await _restore(course, archive, target, endpoint, writers)
    await course.step("Counting every row")
    found = cuts if cuts is not None else cut_of(course.journal())
    counted = await course.count(restored, found)
    course.facts["archive"] = f"{len(archive.names())} sealed files, {archive.stored_bytes} bytes"
    return counted


async def _back_up(course: Course, primary: Cluster, writers: Writers) -> SealedBackup:
    """Take a sealed base backup while rows are written: a third before, a third after it."""
    await course.step(f"Writing {course.request.rows} rows, and taking a sealed base backup meanwhile")
    await course.acknowledged(writers, course.request.rows // 3)
    backup = await take_backup(
        backup_command(primary),
        course.folder / "backup",
        course.key,
        course.drill,
        cwd=primary.home,
        env=primary.environment(),
        timeout_seconds=course.request.timeout_seconds,
    )
    course.facts["base backup"] = f"{backup.plain_bytes} bytes, SHA-256 {backup.sha256}, sealed with AES-256-GCM"
    course.note("the base backup is sealed")
    await course.acknowledged(writers, course.request.rows)
    return backup


async def _name_point(
    course: Course, primary: Cluster, writers: Writers
) -> tuple[dict[int, Cut] | None, dict[str, str]]:
    """Name the moment to restore to, between two readings of the journal, and write on; None for the end."""
    point = course.request.point
    await course.step(f"Naming the moment to restore to ({point})")
    if point == "latest":
        await course.acknowledged(writers, writers.count + ROWS_AFTER)
        return None, {}
    before = course.journal()
    queries = {
        "name": f"SELECT pg_create_restore_point('{_NAME}')",
        "lsn": "SELECT pg_current_wal_insert_lsn()",
        "time": "SELECT clock_timestamp()",
    }
    answer: Any = await primary.ask(queries[point])
    cuts = cut_between(before, course.journal())
    value = _NAME if point == "name" else answer.isoformat() if point == "time" else str(answer)
    course.facts["point"] = f"{point} {value}"
    await course.acknowledged(writers, writers.count + ROWS_AFTER)
    return cuts, {
        f"recovery_target_{point}": value,
        # The record to be written next is the first that is not wanted.
        "recovery_target_inclusive": "off" if point == "lsn" else "on",
        "recovery_target_action": "promote",
    }


async def _archived(course: Course, primary: Cluster, archive: WalArchive) -> None:
    """Close the segment in use and wait until it is in the archive. Rows go on being written after it."""
    await course.step("Waiting for the archive")
    async with primary.connection() as connection:
        query = "SELECT pg_walfile_name(pg_switch_wal() - 1)"
        row = await (await connection.execute(query)).fetchone()
    segment = row[0] if row else ""
    with anyio.move_on_after(_ARCHIVE_SECONDS):
        while not any(name >= segment for name in archive.names() if "." not in name):
            course.check()
            if archive.problem is not None:
                raise archive.problem
            await anyio.sleep(0.01)
        return
    raise EngineError(
        f"Segment {segment} did not reach the archive within {_ARCHIVE_SECONDS:g} seconds.",
        "The server's last lines say why its archive_command failed.",
        engine="postgresql",
        printed="\n".join(primary.log()),
    )


async def _restore(
    course: Course, archive: WalArchive, target: dict[str, str], endpoint: Endpoint, writers: Writers
) -> Cluster:
    """Bring the moment back in a new place, timed by phase."""
    restored = course.cluster("restored")
    restored.make_home()
    since = time.monotonic()
    await course.step("Decrypting and unpacking the backup")
    backup = open_backup(course.folder / "backup", course.key, course.drill)
    await anyio.to_thread.run_sync(partial(unpack, backup, restored.data))
    restored.own()
    since = course.phase("fetch", since)
    await course.step("Verifying every file of it")
    course.facts["restored"] = f"pg_verifybackup: {await verify(restored)}"
    since = course.phase("verify", since)
    await course.step("Replaying the archive")
    with ArchiveDesk(archive, restored.data, restored.home / "archiving") as desk:
        settings = {"archive_mode": "off", "restore_command": desk.restore_command, **target}
        restored.configure({**course.clusters[0].settings, "archive_command": "", **settings, **_own(restored)})
        restored.mark("recovery.signal")
        await _replayed(restored, archive)
        since = course.phase("replay", since)
        course.note("the restored server takes writes")
        await course.step("Writing on the restored server")
        endpoint.switch(restored.conninfo)
        course.phase("open", since, await course.first_write(writers))
        await course.acknowledged(writers, writers.count + ROWS_AFTER)
        course.facts["timeline"] = await restored.timeline()
    return restored


def _own(restored: Cluster) -> dict[str, str]:
    return {"unix_socket_directories": str(restored.sockets)}


async def _replayed(restored: Cluster, archive: WalArchive) -> None:
    """Start the restored server and wait until it is out of recovery; a damaged archive is named as the cause."""
    try:
        await restored.start()
        with anyio.fail_after(_REPLAY_SECONDS):
            await until(lambda: restored.ask("SELECT NOT pg_is_in_recovery()"))
    except EngineError:
        if archive.problem is not None:
            raise archive.problem from None
        raise

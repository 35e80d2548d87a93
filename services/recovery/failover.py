"""The failover drill: a primary is lost in the middle of writes, and its streaming replica takes over."""

import time
from functools import partial

import anyio
import anyio.to_thread
import psycopg

from quantum_suite.core.errors import EngineError
from quantum_suite.services.recovery.backup import verify
from quantum_suite.services.recovery.cluster import Cluster
from quantum_suite.services.recovery.counting import cut_of
from quantum_suite.services.recovery.course import ROWS_AFTER, Course, writing
from quantum_suite.services.recovery.interface import RowCount
from quantum_suite.services.recovery.polling import until
from quantum_suite.services.recovery.writers import Endpoint, Writers

STEPS = 8
_SLOT = "standby"
_ATTACH_SECONDS = 60.0
_PROMOTE_SECONDS = 60


async def drill_failover(course: Course, primary: Cluster) -> RowCount:
    """Drill with a running primary; returns every row accounted for. The phases and the timeline are the course's.

    The old primary is fenced before the replica is promoted: at no moment do two servers take writes.
    """
    await course.step("Attaching a replica")
    standby = await _attach(course, primary)
    await course.prepare(primary)
    endpoint = Endpoint(primary.conninfo)
    async with writing(course, endpoint) as writers:
        await course.step(f"Writing {course.request.rows} rows")
        await course.acknowledged(writers, course.request.rows)
        await course.step(f"The disaster: {course.request.disaster} the primary")
        await _take_over(course, primary, standby, endpoint, writers)
        await course.step("Writing on the new primary")
        await course.acknowledged(writers, writers.count + ROWS_AFTER)
    await course.step("Counting every row")
    counted = await course.count(standby, cut_of(course.journal()))
    await course.step("Making the old primary a replica of the new one")
    await _rejoin(course, primary, standby)
    return counted


async def _attach(course: Course, primary: Cluster) -> Cluster:
    """Make a replica from a base backup of the primary, verified, and have it stream."""
    standby = course.cluster("standby")
    standby.make_home()
    await standby.run(
        "pg_basebackup",
        *(
            "-d",
            primary.conninfo,
            "-D",
            standby.data,
            "-X",
            "stream",
            "-C",
            "-S",
            _SLOT,
            "-c",
            "fast",
            "--no-sync",
        ),
    )
    course.facts["replica"] = f"pg_verifybackup: {await verify(standby)}"
    standby.configure(_as_replica(primary, _carried(primary)))
    standby.mark("standby.signal")
    await standby.start()
    if course.request.synchronous:
        async with primary.connection() as connection:
            await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ({_SLOT})'".encode())
            await connection.execute("SELECT pg_reload_conf()")
    await _streams(course, primary, "sync" if course.request.synchronous else "async")
    return standby


def _as_replica(primary: Cluster, carried: dict[str, str]) -> dict[str, str]:
    conninfo = f"{primary.conninfo} application_name={_SLOT}".replace("dbname=postgres", "")
    return {
        **carried,
        "primary_conninfo": conninfo,
        "primary_slot_name": _SLOT,
        "wal_retrieve_retry_interval": "100ms",
    }


def _carried(cluster: Cluster) -> dict[str, str]:
    """Return the settings of a primary that its replicas must not be below."""
    names = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions")
    known = {
        name: cluster.settings[name] for name in (*names, "max_locks_per_transaction") if name in cluster.settings
    }
    return known | {"archive_mode": "off"}


async def _streams(course: Course, primary: Cluster, state: str) -> None:
    """Wait until the replica streams, in the state wanted."""
    query = f"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{state}'"  # noqa: S608 - one of two words
    with anyio.move_on_after(_ATTACH_SECONDS):
        while not await primary.ask(query):
            course.check()
            await anyio.sleep(0.01)
        return
    raise EngineError(
        f"The replica did not stream from the {primary.name} within {_ATTACH_SECONDS:g} seconds.",
        "Its last lines are in the evidence.",
        engine="postgresql",
        printed="\n".join(line for cluster in course.clusters for line in cluster.log()[-10:]),
    )


async def _take_over(
    course: Course, primary: Cluster, standby: Cluster, endpoint: Endpoint, writers: Writers
) -> None:
    """Lose the primary and recover, timed by phase."""
    watching, gone = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, course, primary, watching, gone)
        with anyio.fail_after(_ATTACH_SECONDS):
            await watching.wait()
        since, course.disaster_at = time.monotonic(), time.time()
        primary.freeze() if course.request.disaster == "freeze" else primary.kill()
        course.note("the primary is lost")
        await gone.wait()
    since = course.phase("detect", since)
    await _fence(primary)
    course.note("the old primary is fenced: no process of it is left, and it cannot start as a primary")
    since = course.phase("fence", since)
    promoted = await standby.ask(f"SELECT pg_promote(true, {_PROMOTE_SECONDS})")
    if not promoted:
        raise EngineError(
            f"The replica was not promoted within {_PROMOTE_SECONDS} seconds.",
            "Its last lines are in the evidence.",
            engine="postgresql",
            printed="\n".join(standby.log()),
        )
    course.note("the replica is promoted")
    since = course.phase("promote", since)
    endpoint.switch(standby.conninfo)
    course.phase("first_write", since, await course.first_write(writers))
    course.note("the first write is acknowledged")
    course.facts["timeline"] = await standby.timeline()


async def _fence(primary: Cluster) -> None:
    """Make sure that nothing of the old primary runs, and that it can never start as one again."""
    primary.mark("standby.signal")
    if not await primary.fence():
        raise EngineError(
            "The old primary could not be fenced: processes of it are left.",
            "Nothing was promoted: two servers that take writes are worse than none.",
            engine="postgresql",
        )


async def _watch(course: Course, primary: Cluster, watching: anyio.Event, gone: anyio.Event) -> None:
    """Look at the primary until it fails to answer several times in a row."""
    failures = 0
    request = course.request
    while failures < request.probe_failures:
        try:
            with anyio.fail_after(max(request.probe_seconds, 0.5)):
                connect = partial(psycopg.AsyncConnection.connect, primary.conninfo, autocommit=True)
                async with await connect() as connection:
                    await connection.execute("SELECT 1")
            failures = 0
            watching.set()
        except (psycopg.Error, TimeoutError, OSError):
            failures += 1
        if failures < request.probe_failures:
            await anyio.sleep(request.probe_seconds)
    gone.set()


async def _rejoin(course: Course, old: Cluster, new: Cluster) -> None:
    """Rewind the old primary to where the histories part, and have it follow the new one.

    pg_rewind throws away what only the old primary has: the rows lost are counted before.
    """
    await old.end()
    (old.data / "standby.signal").unlink()
    async with new.connection() as connection:
        await connection.execute("CHECKPOINT")
        await connection.execute(f"SELECT pg_create_physical_replication_slot('{_SLOT}')".encode())
    # A server that was killed has to be shut down properly first; pg_rewind does that itself (single-user mode).
    await old.run("pg_rewind", "-D", old.data, f"--source-server={new.conninfo}", "--no-sync")
    old.configure(_as_replica(new, _carried(new)))
    old.mark("standby.signal")
    await old.start()
    await _streams(course, new, "async")
    target = await new.ask("SELECT pg_current_wal_flush_lsn()")
    with anyio.fail_after(_ATTACH_SECONDS):
        await until(lambda: old.ask(f"SELECT pg_last_wal_replay_lsn() >= '{target}'"))
    count = (
        "SELECT count(*) || ' ' || md5(string_agg(content, '' ORDER BY writer, number)) FROM quantum_drill.rows"
    )
    same = await old.ask(count) == await new.ask(count)
    if not same:
        raise EngineError(
            "The rewound primary does not hold what the new primary holds.",
            "Make it anew from a base backup of the new primary.",
            engine="pg_rewind",
        )
    course.facts["old primary"] = "rewound by pg_rewind; follows the new primary, with the same rows"

"""Analytics on DuckDB: the tables, who may have them open, and what a question may not do."""

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from reference.happenings import Happened, happen, until

from quantum_suite.core.errors import CallerError, Fenced, Unavailable
from quantum_suite.core.events import Event, Fence, Position
from quantum_suite.services.analytics import duckdb as adapter
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.analytics.interface import EventQuery
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.runner import ProjectionRunner

pytestmark = pytest.mark.anyio

FENCE = Fence("projection/analytics", 1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def analytics(tmp_path: Path) -> AsyncIterator[DuckdbAnalytics]:
    analytics = DuckdbAnalytics(tmp_path / "analytics", query_seconds=10)
    yield analytics
    await analytics.release()


def an_event(number: int, kind: str = "demo.thing.happened.v1", **changes: Any) -> Event:
    given: dict[str, Any] = {
        "stream": "demo.thing/1",
        "version": number,
        "time": NOON + timedelta(seconds=number),
        "data": {"number": number},
    }
    return Event(Position(str(number)), id=f"evt_{number}", type=kind, **(given | changes))


async def ask(analytics: DuckdbAnalytics, sql: str, **options: Any) -> Sequence[tuple[Any, ...]]:
    return (await analytics.query(sql, **options)).rows


async def test_events_are_rows_and_the_checkpoint_moves_with_them(analytics: DuckdbAnalytics) -> None:
    assert await analytics.checkpoint() is None
    await analytics.apply([an_event(1), an_event(2, principal="key:ci", subject="x")], FENCE)
    assert await analytics.checkpoint() == "2"
    found = await analytics.query(
        "SELECT id, principal, CAST(data->>'number' AS INT) FROM events ORDER BY position"
    )
    assert found.rows == (("evt_1", None, 1), ("evt_2", "key:ci", 2))
    assert found.as_of == "2026-01-01T12:00:02"
    assert not found.truncated


async def test_what_is_said_of_people_and_text_of_any_kind_is_safe(analytics: DuckdbAnalytics) -> None:
    nasty = "'; DROP TABLE events; --\x00\u2028\N{GRINNING FACE}"
    await analytics.apply([an_event(1, data={"note": nasty}, personal={"key:ci": {"name": "Ada"}})], FENCE)
    ((data, note),) = await ask(analytics, "SELECT data, data->>'note' FROM events")
    assert "Ada" not in data
    assert note == nasty


async def test_views_name_scans_and_runs(analytics: DuckdbAnalytics) -> None:
    run = {"stream": "orchestrator.run/run_1", "principal": "key:ci"}
    await analytics.apply(
        [
            an_event(1, "qsecure.scan.started.v1", data={"scan": "s", "root": "/r", "files": 3}),
            an_event(2, "qsecure.scan.completed.v1", data={"scan": "s", "counts": {"high": 2}, "seconds": 1.5}),
            an_event(3, "orchestrator.run.started.v1", data={"workflow": "nightly", "version": "1"}, **run),
            an_event(4, "orchestrator.step.completed.v1", data={"step": 1, "name": "scan"}, **run),
            an_event(5, "orchestrator.run.failed.v1", data={"code": "unavailable", "message": "x"}, **run),
            an_event(6, "hub.call.ended.v1", data={"outcome": "ok", "duration_ms": 1.5}, correlation_id="c"),
        ],
        FENCE,
    )
    assert await ask(analytics, "SELECT scan, root, files, high, seconds FROM scans") == (("s", "/r", 3, 2, 1.5),)
    assert await ask(analytics, "SELECT run, workflow, principal, state, steps, failure FROM runs") == (
        ("run_1", "nightly", "key:ci", "failed", 1, "unavailable"),
    )
    assert await ask(analytics, "SELECT call_id, outcome, duration_ms FROM calls") == (("c", "ok", 1.5),)


async def test_an_outdated_fence_writes_nothing(analytics: DuckdbAnalytics) -> None:
    await analytics.apply([an_event(1)], Fence("l", 5))
    assert await analytics.checkpoint() == "1"
    with pytest.raises(Fenced):
        await analytics.apply([an_event(2)], Fence("l", 4))
    assert await analytics.checkpoint() == "1"
    await analytics.apply([an_event(2)], Fence("l", 6))
    assert await ask(analytics, "SELECT count(*) FROM events") == ((2,),)


async def test_reset_leaves_empty_tables(analytics: DuckdbAnalytics) -> None:
    await analytics.apply([an_event(1)], FENCE)
    await analytics.reset()
    assert await analytics.checkpoint() is None
    assert await ask(analytics, "SELECT count(*) FROM events") == ((0,),)


async def test_the_tables_survive_a_restart(tmp_path: Path) -> None:
    first = DuckdbAnalytics(tmp_path / "a")
    await first.apply([an_event(1)], FENCE)
    await first.release()
    second = DuckdbAnalytics(tmp_path / "a")
    assert await second.checkpoint() == "1"
    await second.release()


async def test_the_files_are_this_users_alone(tmp_path: Path, analytics: DuckdbAnalytics) -> None:
    await analytics.apply([an_event(1)], FENCE)
    await analytics.query("SELECT 1")
    directory = tmp_path / "analytics"
    assert directory.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o077 for path in directory.glob("*.duckdb")} == {0}


async def test_one_process_has_the_tables_open_and_others_ask_the_copy(
    tmp_path: Path, analytics: DuckdbAnalytics
) -> None:
    await analytics.apply([an_event(1)], FENCE)
    await analytics.publish()
    other = DuckdbAnalytics(tmp_path / "analytics")
    with pytest.raises(Unavailable, match="Another process"):
        await other.checkpoint()
    assert await ask(other, "SELECT count(*) FROM events") == ((1,),)
    await analytics.release()
    assert await other.checkpoint() == "1"
    await other.release()


async def test_a_copy_does_not_let_go_of_duckdbs_own_lock(tmp_path: Path, analytics: DuckdbAnalytics) -> None:
    await analytics.apply([an_event(1)], FENCE)
    await analytics.publish()
    program = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    tables = str(tmp_path / "analytics" / "tables.duckdb")
    stranger = subprocess.run([sys.executable, "-c", program, tables], capture_output=True, text=True, check=False)
    assert "lock" in stranger.stderr


async def test_each_directory_has_a_name_of_its_own_that_stays(tmp_path: Path) -> None:
    one, two = DuckdbAnalytics(tmp_path / "a"), DuckdbAnalytics(tmp_path / "b")
    assert one.instance == DuckdbAnalytics(tmp_path / "a").instance
    assert one.instance != two.instance


async def test_nothing_published_yet_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no analytics tables yet"):
        await DuckdbAnalytics(tmp_path / "none").query("SELECT 1")


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty"])
async def test_damaged_tables_are_made_anew(tmp_path: Path, damage: str) -> None:
    analytics = DuckdbAnalytics(tmp_path)
    await analytics.apply([an_event(number) for number in range(500)], FENCE)
    await analytics.release()
    tables = tmp_path / "tables.duckdb"
    whole = tables.read_bytes()
    tables.write_bytes({"garbage": b"hello" * 5000, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
    assert await analytics.checkpoint() is None
    await analytics.release()


async def test_tables_lost_while_they_are_followed_are_begun_anew(tmp_path: Path) -> None:
    analytics = DuckdbAnalytics(tmp_path)
    await analytics.apply([an_event(1)], FENCE)
    await analytics.release()
    (tmp_path / "tables.duckdb").unlink()
    with pytest.raises(Fenced):
        await analytics.apply([an_event(2)], FENCE)
    assert await analytics.checkpoint() is None
    await analytics.release()


async def test_tables_of_another_layout_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analytics = DuckdbAnalytics(tmp_path)
    await analytics.apply([an_event(1)], FENCE)
    await analytics.release()
    monkeypatch.setattr(adapter, "SCHEMA_VERSION", 99)
    assert await analytics.checkpoint() is None
    await analytics.release()


async def test_a_directory_that_cannot_be_used_is_unavailable_and_touched_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "tables.duckdb").mkdir()
    with pytest.raises(Unavailable):
        await DuckdbAnalytics(tmp_path).checkpoint()
    assert (tmp_path / "tables.duckdb").is_dir()


@pytest.mark.parametrize(
    "sql",
    [
        "COPY events TO '/tmp/stolen.csv'",
        "COPY (SELECT 1) TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.duckdb'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/hostname')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM read_csv('http://127.0.0.1/x')",
        "PRAGMA database_list",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE events",
        "DROP TABLE events",
        "DELETE FROM events",
        "INSERT INTO events SELECT * FROM events",
        "CREATE TABLE x AS SELECT 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL force_checkpoint()",
        "EXPORT DATABASE '/tmp/stolen'",
        "SELECT * FROM enable_logging('QueryLog', storage := 'file', storage_path := '/tmp/stolen')",
        "SELECT * FROM query('DROP TABLE events')",
        "SELECT * FROM asked",
        "SELECT getenv('HOME')",
        "SELECT no_such_column FROM events",
        "this is no SQL",
        "",
        "-- nothing",
        "\x00",
    ],
)
async def test_what_is_no_plain_question_is_refused(analytics: DuckdbAnalytics, sql: str) -> None:
    await analytics.apply([an_event(1)], FENCE)
    with pytest.raises(CallerError) as refusal:
        await analytics.query(sql)
    assert refusal.value.argument == "sql"
    assert not list(Path("/tmp").glob("stolen*"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE sin(a.range) > cos(b.range)",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
    ],
)
async def test_a_question_that_never_ends_is_ended(tmp_path: Path, sql: str) -> None:
    analytics = DuckdbAnalytics(tmp_path, query_seconds=1)
    await analytics.apply([an_event(1)], FENCE)
    with pytest.raises(CallerError, match=r"did not finish within 1 seconds|more memory or time"):
        await analytics.query(sql)
    await analytics.release()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list_sum(range(1000000000))",
        "SELECT length(repeat('x', 4000000000))",
        "SELECT list(range) FROM range(1000000000)",
    ],
)
async def test_a_question_that_needs_too_much_memory_is_ended(analytics: DuckdbAnalytics, sql: str) -> None:
    await analytics.apply([an_event(1)], FENCE)
    with pytest.raises(CallerError, match=r"(?i)memory"):
        await analytics.query(sql)


async def test_answers_are_cut_by_rows_and_by_bytes_and_say_so(analytics: DuckdbAnalytics) -> None:
    await analytics.apply([an_event(1)], FENCE)
    few = await analytics.query("SELECT range FROM range(10)", max_rows=3)
    assert (few.rows, few.truncated) == (((0,), (1,), (2,)), True)
    exact = await analytics.query("SELECT range FROM range(3)", max_rows=3)
    assert (len(exact.rows), exact.truncated) == (3, False)
    wide = await analytics.query("SELECT repeat('x', 100000) FROM range(10)", max_rows=1000)
    assert wide.truncated
    assert len(wide.rows) == 2
    with pytest.raises(CallerError, match="too long"):
        await analytics.query("SELECT 1" + " " * 20_000)


async def test_values_json_has_no_form_for_come_as_text(analytics: DuckdbAnalytics) -> None:
    await analytics.apply([an_event(1)], FENCE)
    sql = "SELECT 'nan'::DOUBLE, 1.5::DECIMAL(4,1), 'a'::BLOB, DATE '2026-01-01', {'a': [1]}, 2::HUGEINT ** 100"
    ((nan, decimal, blob, day, nested, huge),) = await ask(analytics, sql)
    assert (nan, decimal, blob, day, nested) == ("nan", "1.5", "61", "2026-01-01", {"a": [1]})
    assert huge == pytest.approx(2**100)


async def test_the_latest_events_are_found_by_principal_type_and_time(analytics: DuckdbAnalytics) -> None:
    await analytics.apply(
        [
            an_event(1, principal="key:ci"),
            an_event(2, "demo.thing.noticed.v12", principal="key:ci"),
            an_event(3, principal="key:other"),
            an_event(4),
        ],
        FENCE,
    )

    async def found(**wanted: Any) -> list[str]:
        return [row[3] for row in (await analytics.latest(EventQuery(**wanted))).rows]

    assert await found() == ["evt_4", "evt_3", "evt_2", "evt_1"]
    assert await found(limit=2) == ["evt_4", "evt_3"]
    assert await found(principal="key:ci") == ["evt_2", "evt_1"]
    assert await found(principal="' OR true --") == []
    assert await found(types=("demo.thing.noticed",)) == ["evt_2"]
    assert await found(types=("demo.thing.happened", "demo.nothing.")) == ["evt_4", "evt_3", "evt_1"]
    assert await found(types=("demo.thing.",), principal="key:other") == ["evt_3"]
    assert await found(types=("demo.th",)) == []
    assert await found(since=NOON + timedelta(seconds=3)) == ["evt_4", "evt_3"]


async def test_it_follows_the_log_under_the_runner(tmp_path: Path) -> None:
    events = MemoryEventStore(EventRegistry([Happened, *CONTROL_EVENTS]), polling_seconds=0.02)
    analytics = DuckdbAnalytics(tmp_path)
    runner = ProjectionRunner(events, MemoryProgressStore(), MemoryLeaseStore(), holder="here")
    runner.add_projection(analytics, instance=analytics.instance)
    await happen(events, 1, 2, 3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        tasks.start_soon(analytics.run)
        await until(lambda: runner.statuses()[0].handled == 3)
        assert await ask(analytics, "SELECT sum(CAST(data->>'number' AS INT)) FROM events") == ((6,),)
        tasks.cancel_scope.cancel()
    assert not list(tmp_path.glob("*.new"))
    # The lock is free again: another process may open the tables.
    assert await DuckdbAnalytics(tmp_path).checkpoint() is not None

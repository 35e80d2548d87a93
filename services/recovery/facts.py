"""What is known of a live PostgreSQL server: looked at, never changed."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import psycopg

SETTINGS = (
    "wal_level",
    "archive_mode",
    "archive_command",
    "archive_library",
    "archive_timeout",
    "max_wal_senders",
    "max_replication_slots",
    "synchronous_standby_names",
    "synchronous_commit",
    "wal_log_hints",
    "data_checksums",
    "fsync",
    "full_page_writes",
    "wal_keep_size",
    "max_slot_wal_keep_size",
)
_SHOWN = frozenset(SETTINGS) - {"archive_command", "archive_library"}
_STATEMENT_MS = 10_000


class Replica(BaseModel):
    """A replica that is attached now."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its application_name.")
    state: str | None = Field(description="streaming, catchup, backup...; None where the role may not see it.")
    sync_state: str | None = Field(description="sync, quorum, potential or async.")
    lag_bytes: int | None = Field(description="WAL that it has not written to its disk.")
    lag_seconds: float | None = Field(description="How long ago what it last made durable was written.")


class Slot(BaseModel):
    """A replication slot."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its name.")
    active: bool = Field(description="Whether somebody reads from it.")
    retained_bytes: int | None = Field(description="WAL kept for it.")
    wal_status: str | None = Field(description="reserved, extended, unreserved or lost.")


class ServerFacts(BaseModel):
    """A server, as it was looked at."""

    model_config = ConfigDict(frozen=True)

    version: str = Field(description="Its version.")
    major: int = Field(description="Its major version.")
    in_recovery: bool = Field(description="Whether it is itself a replica.")
    size_bytes: int = Field(description="Size of all databases the role may connect to.")
    unseen_databases: int = Field(description="Databases whose size the role may not see.")
    tablespaces: int = Field(description="Tablespaces beyond the two every server has.")
    system_identifier: str | None = Field(description="What backups of it carry.")
    settings: dict[str, str] = Field(
        description="Settings that matter to recovery; commands are only said to be set."
    )
    archived: int | None = Field(description="Segments archived.")
    archive_failures: int | None = Field(description="Attempts to archive that failed.")
    archived_seconds_ago: float | None = Field(description="When one was archived last.")
    archive_failing: bool = Field(description="Whether the last attempt failed.")
    wal_bytes_a_second: float | None = Field(
        description="WAL written a second, on average since the counters began."
    )
    replicas: tuple[Replica, ...] = Field(description="Replicas attached now.")
    slots: tuple[Slot, ...] = Field(description="Replication slots.")
    may_replicate: bool = Field(description="Whether the role may take a base backup.")
    unseen: tuple[str, ...] = Field(
        default=(), description="What the role may not see; GRANT pg_monitor shows it."
    )


def look(conninfo: str) -> ServerFacts:
    """Look at a server, in one read-only transaction with bounded statements; raises psycopg.Error."""
    # Every hub knows what facts look like; the client takes time and memory that few have a use for.
    import psycopg
    from psycopg.rows import dict_row

    options = f"-c default_transaction_read_only=on -c statement_timeout={_STATEMENT_MS}"
    with psycopg.connect(conninfo, options=options, row_factory=dict_row) as connection:
        rows = connection.execute(
            "SELECT name, setting, unit FROM pg_settings WHERE name = ANY (%s)",
            ([*SETTINGS, "server_version", "server_version_num"],),
        ).fetchall()
        settings = {str(row["name"]): str(row["setting"]) for row in rows}
        server = _one(connection, _SERVER)
        archiver = _one(connection, _ARCHIVER)
        position = "pg_last_wal_receive_lsn()" if server["in_recovery"] else "pg_current_wal_flush_lsn()"
        replicas = connection.execute(_REPLICAS.format(position=position).encode()).fetchall()
        slots = connection.execute(_SLOTS.format(position=position).encode()).fetchall()
    return _facts(settings, server, archiver, replicas, slots)


_SERVER = """
SELECT pg_is_in_recovery() AS in_recovery,
  (SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database
    WHERE has_database_privilege(oid, 'CONNECT')) AS size_bytes,
  (SELECT count(*) FROM pg_database WHERE NOT has_database_privilege(oid, 'CONNECT')) AS unseen_databases,
  (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')) AS tablespaces,
  (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) AS may_replicate,
  (SELECT pg_has_role(current_user, 'pg_monitor', 'USAGE')) AS monitor,
  CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
    THEN (SELECT system_identifier::text FROM pg_control_system()) END AS system_identifier,
  (SELECT (wal_bytes / greatest(extract(epoch FROM now() - stats_reset), 1))::float8 FROM pg_stat_wal) AS wal_rate
"""
_ARCHIVER = """
SELECT archived_count AS archived, failed_count AS archive_failures,
  extract(epoch FROM now() - last_archived_time)::float8 AS archived_seconds_ago,
  coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS archive_failing
FROM pg_stat_archiver
"""
_REPLICAS = """
SELECT application_name AS name, state, sync_state,
  pg_wal_lsn_diff({position}, flush_lsn)::bigint AS lag_bytes,
  extract(epoch FROM coalesce(flush_lag, '0'::interval))::float8 AS lag_seconds
FROM pg_stat_replication WHERE application_name <> 'pg_basebackup' ORDER BY 1 LIMIT 100
"""
_SLOTS = """
SELECT slot_name AS name, active, pg_wal_lsn_diff({position}, restart_lsn)::bigint AS retained_bytes, wal_status
FROM pg_replication_slots ORDER BY 1 LIMIT 100
"""


def _one(connection: "psycopg.Connection[dict[str, Any]]", query: str) -> dict[str, Any]:
    return connection.execute(query.encode()).fetchone() or {}


def _facts(
    settings: Mapping[str, str],
    server: Mapping[str, Any],
    archiver: Mapping[str, Any],
    replicas: list[dict[str, Any]],
    slots: list[dict[str, Any]],
) -> ServerFacts:
    shown = {name: settings[name] for name in SETTINGS if name in _SHOWN and name in settings}
    for name in ("archive_command", "archive_library"):
        # A command may hold a secret: whether there is one is enough.
        value = settings.get(name)
        shown[name] = "not visible" if value is None else "set" if value not in ("", "(disabled)") else "empty"
    unseen = () if server["monitor"] else ("settings of superusers", "the state and lag of replicas")
    return ServerFacts(
        version=settings["server_version"],
        major=int(settings["server_version_num"]) // 10_000,
        in_recovery=server["in_recovery"],
        size_bytes=server["size_bytes"],
        unseen_databases=server["unseen_databases"],
        tablespaces=server["tablespaces"],
        system_identifier=server["system_identifier"],
        settings=shown,
        archived=archiver.get("archived"),
        archive_failures=archiver.get("archive_failures"),
        archived_seconds_ago=archiver.get("archived_seconds_ago"),
        archive_failing=bool(archiver.get("archive_failing")),
        wal_bytes_a_second=server["wal_rate"],
        replicas=tuple(Replica.model_validate(row) for row in replicas),
        slots=tuple(Slot.model_validate(row) for row in slots),
        may_replicate=bool(server["may_replicate"]),
        unseen=unseen,
    )


if __name__ == "__main__":
    import psycopg

    try:
        print(json.dumps({"facts": look(json.load(sys.stdin)).model_dump(mode="json")}))  # noqa: T201 - its answer
    except psycopg.Error as error:
        print(json.dumps({"error": str(error).partition("\n")[0][:500]}))  # noqa: T201 - its answer

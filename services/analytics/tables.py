"""The tables and views that can be asked for, and their description."""

SCHEMA_VERSION = 1
"""Raised whenever the tables change: tables of another version are thrown away and rebuilt from the events."""

TABLES = (
    """
    CREATE TABLE events (
        position VARCHAR NOT NULL, stream VARCHAR NOT NULL, version BIGINT NOT NULL, id VARCHAR NOT NULL,
        type VARCHAR NOT NULL, time TIMESTAMP NOT NULL, subject VARCHAR, principal VARCHAR,
        correlation_id VARCHAR, causation_id VARCHAR, data JSON NOT NULL)
    """,
    "CREATE TABLE progress (position VARCHAR, schema_version INTEGER NOT NULL)",
    """
    CREATE VIEW calls AS SELECT
        correlation_id AS call_id, time, principal, data->>'method' AS method, data->>'target' AS target,
        data->>'upstream' AS upstream, data->>'outcome' AS outcome, data->>'reason' AS reason,
        CAST(data->>'duration_ms' AS DOUBLE) AS duration_ms
    FROM events WHERE starts_with(type, 'hub.call.ended.')
    """,
    """
    CREATE VIEW scans AS SELECT
        data->>'scan' AS scan, any_value(principal) AS principal,
        min(time) FILTER (starts_with(type, 'qsecure.scan.started.')) AS started_at,
        max(time) FILTER (starts_with(type, 'qsecure.scan.completed.')) AS completed_at,
        any_value(data->>'root') AS root, max(CAST(data->>'files' AS BIGINT)) AS files,
        max(CAST(data->>'seconds' AS DOUBLE)) AS seconds,
        max(CAST(data->'counts'->>'critical' AS BIGINT)) AS critical,
        max(CAST(data->'counts'->>'high' AS BIGINT)) AS high,
        max(CAST(data->'counts'->>'medium' AS BIGINT)) AS medium,
        max(CAST(data->'counts'->>'low' AS BIGINT)) AS low
    FROM events WHERE starts_with(type, 'qsecure.scan.') GROUP BY data->>'scan'
    """,
    """
    CREATE VIEW runs AS SELECT
        split_part(stream, '/', 2) AS run, any_value(data->>'workflow') AS workflow,
        arg_min(principal, version) AS principal, min(time) AS started_at,
        max(time) FILTER (split_part(type, '.', 3) IN ('completed', 'failed', 'cancelled')
            AND split_part(type, '.', 2) = 'run') AS ended_at,
        arg_max(split_part(type, '.', 3), version) FILTER (split_part(type, '.', 2) = 'run') AS state,
        count(*) FILTER (starts_with(type, 'orchestrator.step.completed.')) AS steps,
        arg_max(data->>'code', version) FILTER (starts_with(type, 'orchestrator.run.failed.')) AS failure
    FROM events WHERE starts_with(stream, 'orchestrator.run/') GROUP BY stream
    """,
)
"""In the order they are made."""

DESCRIPTION = (
    "events(position, stream, version, id, type, time, subject, principal, correlation_id, causation_id, data): "
    "data is JSON, read its fields with data->>'name'; calls(call_id, time, principal, method, target, upstream, "
    "outcome, reason, duration_ms); scans(scan, principal, started_at, completed_at, root, files, seconds, "
    "critical, high, medium, low); runs(run, workflow, principal, started_at, ended_at, state, steps, failure). "
    "Times are UTC."
)
"""For whoever writes queries."""

"""What the event store asks PostgreSQL when it reads.

`settled`: every transaction below it has ended, so what it wrote is there, and nothing will appear there any more.
"""

AHEAD = """
SELECT settled, EXISTS (SELECT FROM events WHERE transaction_id >= settled)
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + shift AS settled FROM event_log) log
"""
"""Up to where the log is settled, and whether there is something beyond."""

EDGE = """
SELECT transaction_id, sequence FROM events
WHERE (transaction_id, sequence) > (%(transaction)s, %(sequence)s) AND transaction_id < %(settled)s
ORDER BY transaction_id, sequence OFFSET %(scanned)s LIMIT 1
"""
"""The last event of a stretch of the log."""

_HEAD = """
SELECT transaction_id, sequence, stream, version, id, type, time, attributes, payload, personal FROM (
    SELECT e.transaction_id, e.sequence, s.name AS stream, e.version, e.id, t.name AS type, e.time, e.attributes,
        e.payload, e.personal, sum(octet_length(e.payload)) OVER (ORDER BY e.transaction_id, e.sequence) AS bytes
    FROM (SELECT * FROM events WHERE
"""
_TAIL = """
        LIMIT %(limit)s) e
    JOIN streams s ON s.number = e.stream JOIN event_types t ON t.number = e.type) page
WHERE bytes - octet_length(payload) <= %(bytes)s ORDER BY transaction_id, sequence
"""
_AFTER = "(transaction_id, sequence) > (%(transaction)s, %(sequence)s)"
_SETTLED = "transaction_id < %(settled)s"
_WANTED = "type IN (SELECT number FROM event_types WHERE name ~ %(types)s)"
_STREAM = "stream = (SELECT number FROM streams WHERE name = %(stream)s)"
_BEFORE_EDGE = "(transaction_id, sequence) <= (%(edge)s, %(edge_sequence)s)"
_IN_ORDER = "ORDER BY transaction_id, sequence"

LOG = f"{_HEAD} {_AFTER} AND {_SETTLED} {_IN_ORDER} {_TAIL}"
LOG_OF_TYPES = f"{_HEAD} {_AFTER} AND {_BEFORE_EDGE} AND {_WANTED} {_IN_ORDER} {_TAIL}"
LOG_OF_STREAM = f"{_HEAD} {_STREAM} AND {_AFTER} AND {_SETTLED} AND {_WANTED} ORDER BY version {_TAIL}"
STREAM = f"{_HEAD} {_STREAM} AND version > %(version)s ORDER BY version {_TAIL}"

BACKWARDS = """
SELECT e.transaction_id, e.sequence, s.name, e.version, e.id, t.name, e.time, e.attributes, e.payload, e.personal
FROM (SELECT * FROM events
    WHERE (transaction_id, sequence) < (%(transaction)s, %(sequence)s) AND transaction_id < %(settled)s
    ORDER BY transaction_id DESC, sequence DESC LIMIT %(limit)s) e
JOIN streams s ON s.number = e.stream JOIN event_types t ON t.number = e.type
ORDER BY e.transaction_id DESC, e.sequence DESC
"""
HEAD = """
SELECT transaction_id, sequence FROM events
WHERE transaction_id < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + shift FROM event_log)
ORDER BY transaction_id DESC, sequence DESC LIMIT 1
"""
COUNT = """
SELECT count(*) FROM events WHERE (transaction_id, sequence) > (%s, %s)
AND transaction_id < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + shift FROM event_log)
"""
MEND_SHIFT = """
UPDATE event_log SET shift = log.last + 1 - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
FROM (SELECT max(transaction_id) AS last FROM events) AS log
WHERE log.last >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + shift
"""
"""Changes nothing unless the log is ahead of the server's own transaction count."""

SAVE_SNAPSHOT = """
INSERT INTO snapshots (stream, version, schema, state) VALUES (%s, %s, %s, %s)
ON CONFLICT (stream) DO UPDATE
SET version = excluded.version, schema = excluded.schema, state = excluded.state
WHERE snapshots.schema <> excluded.schema OR snapshots.version <= excluded.version
"""
SNAPSHOT = "SELECT version, state FROM snapshots WHERE stream = %s AND schema = %s"
FORGET_SNAPSHOTS = "DELETE FROM snapshots"

"""The event log, its streams, snapshots and fences.

`events.transaction_id` is the number of the transaction that wrote the event, plus `event_log.shift`. Transactions
end in another order than they begin: a reader stays below the oldest one that still runs, so nothing ever appears
before what it has passed. `streams.last_transaction` is that of the stream's last event. The shift is 0 until the
log is moved to a server whose own count is behind the log's.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE fences (name text PRIMARY KEY, token bigint NOT NULL) WITH (fillfactor = 50)",
    """
    CREATE TABLE streams (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,
        version integer NOT NULL, last_id text COLLATE "C", last_transaction bigint NOT NULL DEFAULT 0)
    WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE event_types (
        number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE)
    """,
    """
    CREATE TABLE events (
        transaction_id bigint NOT NULL, stream bigint NOT NULL, sequence integer NOT NULL,
        version integer NOT NULL, type integer NOT NULL, id text COLLATE "C" NOT NULL,
        time text COLLATE "C" NOT NULL, attributes bytea NOT NULL, payload bytea NOT NULL, personal bytea NOT NULL,
        PRIMARY KEY (transaction_id, sequence), UNIQUE (stream, version))
    """,
    "CREATE TABLE event_log (shift bigint NOT NULL)",
    "INSERT INTO event_log (shift) VALUES (0)",
    """
    CREATE TABLE snapshots (
        stream text COLLATE "C" PRIMARY KEY, version integer NOT NULL, schema integer NOT NULL,
        state bytea NOT NULL)
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

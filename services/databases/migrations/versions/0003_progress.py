"""Where consumers stand, what they have seen and what they parked."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE progress (consumer text PRIMARY KEY, position text NOT NULL)",
    """
    CREATE TABLE inbox (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        consumer text NOT NULL,
        event_id text NOT NULL,
        UNIQUE (consumer, event_id)
    )
    """,
    "CREATE INDEX inbox_by_age ON inbox (consumer, number)",
    """
    CREATE TABLE parked (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        consumer text NOT NULL,
        position text NOT NULL,
        event_id text NOT NULL,
        event_type text NOT NULL,
        stream text NOT NULL,
        version integer NOT NULL,
        problem text NOT NULL,
        attempts integer NOT NULL,
        parked_at timestamptz NOT NULL,
        UNIQUE (consumer, position)
    )
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

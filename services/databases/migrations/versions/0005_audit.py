"""The chain of audit records and its checkpoints."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE audit_records (number bigint PRIMARY KEY, record bytea NOT NULL, hash bytea NOT NULL)",
    """
    CREATE TABLE audit_checkpoints (
        number bigint PRIMARY KEY, position text NOT NULL, hash text NOT NULL, time text NOT NULL,
        key_id text NOT NULL, previous text NOT NULL, signature text NOT NULL)
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

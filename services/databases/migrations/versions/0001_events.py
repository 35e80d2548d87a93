"""The event log, its streams, snapshots and fences."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE fences (name text PRIMARY KEY, token bigint NOT NULL) WITH (fillfactor = 50)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

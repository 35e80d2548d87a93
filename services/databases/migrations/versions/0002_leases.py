"""Leases."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE leases (
        name text PRIMARY KEY, holder text NOT NULL, token bigint NOT NULL,
        ttl_seconds double precision NOT NULL, ends_at timestamptz NOT NULL)
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

"""The wrapped keys of data subjects."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE subject_keys (id text PRIMARY KEY, subject text NOT NULL UNIQUE, wrapped bytea NOT NULL)",
    "CREATE TABLE subject_erasures (count bigint NOT NULL)",
    "INSERT INTO subject_erasures (count) VALUES (0)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

"""What models were asked for and took: charges, their totals a day and month, and the daily sums of old ones."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE model_charges (
        principal text NOT NULL, call_id text NOT NULL, attempt integer NOT NULL, request_digest text NOT NULL,
        provider text NOT NULL, model text NOT NULL, purpose text NOT NULL, state text NOT NULL,
        input_tokens bigint NOT NULL, output_tokens bigint NOT NULL, nano_usd bigint, estimated boolean NOT NULL,
        repeats integer NOT NULL DEFAULT 0, reserved_at timestamptz NOT NULL, expires_at timestamptz NOT NULL,
        PRIMARY KEY (principal, call_id, attempt))
    """,
    "CREATE INDEX model_charges_by_time ON model_charges (reserved_at)",
    "CREATE INDEX model_charges_open ON model_charges (expires_at) WHERE state = 'reserved'",
    """
    CREATE TABLE model_totals (
        scope text NOT NULL, period text NOT NULL, nano_usd bigint NOT NULL, tokens bigint NOT NULL,
        attempts bigint NOT NULL, PRIMARY KEY (scope, period))
    """,
    """
    CREATE TABLE model_charges_folded (
        day text NOT NULL, principal text NOT NULL, provider text NOT NULL, model text NOT NULL,
        purpose text NOT NULL, attempts bigint NOT NULL, answered bigint NOT NULL, cut bigint NOT NULL,
        failed bigint NOT NULL, input_tokens bigint NOT NULL, output_tokens bigint NOT NULL,
        nano_usd bigint NOT NULL, unpriced bigint NOT NULL, estimated bigint NOT NULL,
        PRIMARY KEY (day, principal, provider, model, purpose))
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

"""What the orchestrator keeps beside its engine: runs, workers, news, and events on their way to the store."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE workflow_runs (
        run_id text PRIMARY KEY, workflow text NOT NULL, version text NOT NULL,
        principal text NOT NULL, owner text NOT NULL,
        state text NOT NULL DEFAULT 'active', wish text, queue text, parent text, forked_from text,
        status text NOT NULL DEFAULT '{}', waiting text NOT NULL DEFAULT '{}',
        failure text, failed_at text, ending text,
        deadline_ms bigint, resumed_ms bigint NOT NULL DEFAULT 0,
        created_ms bigint NOT NULL, updated_ms bigint NOT NULL)
    """,
    "CREATE INDEX workflow_runs_newest ON workflow_runs (created_ms, run_id)",
    "CREATE INDEX workflow_runs_of ON workflow_runs (principal, created_ms, run_id)",
    "CREATE INDEX workflow_runs_children ON workflow_runs (parent) WHERE parent IS NOT NULL",
    "CREATE TABLE workflow_workers (worker text PRIMARY KEY, token bigint NOT NULL)",
    "CREATE TABLE workflow_news (run_id text PRIMARY KEY)",
    """
    CREATE TABLE workflow_outbox (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text NOT NULL UNIQUE, run_id text NOT NULL, type text NOT NULL, data text NOT NULL,
        principal text, at_ms bigint NOT NULL)
    """,
    """
    CREATE TABLE definitions (
        name text NOT NULL, version integer NOT NULL, owner text NOT NULL, shared boolean NOT NULL,
        source text NOT NULL, has_run boolean NOT NULL DEFAULT false,
        stored_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (name, version))
    """,
    "CREATE INDEX definitions_by_owner ON definitions (owner, name)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)

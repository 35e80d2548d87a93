"""What the adapter keeps beside DBOS's own tables, in the same database and the same transactions.

- `workflow_runs`: a row for every run: its definition, its owner, what it waits for, what people wish of it.
- `workflow_workers`: the newest token under which each worker has opened.
- `workflow_news`: runs their worker should look at.
- `workflow_outbox`: events that are not in the event store yet.
"""

from functools import lru_cache
from typing import Literal

from quantum_suite.services.databases.postgres import SCHEMA

DialectName = Literal["sqlite", "postgresql"]

DBOS_SCHEMA = "dbos"
"""The PostgreSQL schema DBOS keeps its tables in."""

SQLITE_MIGRATIONS: tuple[str, ...] = (
    """
CREATE TABLE workflow_runs (
    run_id TEXT PRIMARY KEY,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    principal TEXT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'active',
    wish TEXT,
    queue TEXT,
    parent TEXT,
    forked_from TEXT,
    status TEXT NOT NULL DEFAULT '{}',
    waiting TEXT NOT NULL DEFAULT '{}',
    failure TEXT,
    failed_at TEXT,
    ending TEXT,
    deadline_ms INTEGER,
    resumed_ms INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
CREATE INDEX workflow_runs_newest ON workflow_runs (created_ms, run_id);
CREATE INDEX workflow_runs_of ON workflow_runs (principal, created_ms, run_id);
CREATE INDEX workflow_runs_children ON workflow_runs (parent) WHERE parent IS NOT NULL;
CREATE TABLE workflow_workers (worker TEXT PRIMARY KEY, token INTEGER NOT NULL);
CREATE TABLE workflow_news (run_id TEXT PRIMARY KEY);
CREATE TABLE workflow_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    principal TEXT,
    at_ms INTEGER NOT NULL
);
""",
)
"""`state` is `active` until the run is paused or final; DBOS's own status tells queued from running.
`wish` is `pause` or `cancel`, for the worker that runs it. `waiting`, `ending` and `status` are JSON.
On PostgreSQL the suite's own migrations make the same tables."""


@lru_cache(maxsize=256)
def sql(dialect: DialectName, text: str) -> str:
    """Return a statement in a dialect: `our.` and `dbos.` before tables, `?` for parameters, `LOCKED` at the end
    of a SELECT whose rows stay as they are until the transaction ends (on SQLite every transaction is alone)."""
    if dialect == "sqlite":
        return text.replace("our.", "").replace("dbos.", "").replace("LOCKED", "")
    text = text.replace("our.", f"{SCHEMA}.").replace("dbos.", f"{DBOS_SCHEMA}.").replace("?", "%s")
    return text.replace("LOCKED", "FOR NO KEY UPDATE")

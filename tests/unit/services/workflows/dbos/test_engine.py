"""What the suite uses of DBOS's inside. When it fails, DBOS changed: read its source, then move the pin."""

import importlib.metadata
import inspect
import subprocess
import sys
import time
from pathlib import Path

import dbos._queue
import dbos._sys_db
from dbos._schemas.system_database import SystemSchema

from quantum_suite.services.workflows.dbos.engine import VERSION, open_engine

USED = {
    "create": {"system_database_url", "engine_kwargs", "engine", "schema", "serializer", "executor_id"}
    | {"use_listen_notify", "app_name", "retry_connection_errors"},
    "run_migrations": set(),
    "init_workflow_with_connection": {"status", "conn", "creator_xid"},
    "upsert_queue": {"name", "concurrency", "worker_concurrency", "rate_limit_max", "rate_limit_period_sec"}
    | {"polling_interval_sec", "update_existing"},
    "get_queue": {"name"},
    "start_queued_workflows": {"queue", "executor_id", "app_version", "queue_partition_key", "local_running_count"}
    | {"owner_xid", "is_latest_version"},
    "transition_delayed_workflows": set(),
    "create_schedule": {"schedule", "conn"},
    "delete_schedule": {"name", "conn"},
    "list_schedules": {"application_name"},
    "delete_workflows": {"workflow_ids"},
    "destroy": set(),
}
COLUMNS = {
    "workflow_status": {
        "workflow_uuid",
        "status",
        "owner_xid",
        "executor_id",
        "queue_name",
        "created_at",
        "updated_at",
    }
    | {"completed_at", "started_at_epoch_ms", "delay_until_epoch_ms", "recovery_attempts", "application_name"},
    "workflow_input": {"workflow_uuid", "inputs"},
    "workflow_output": {"workflow_uuid", "output", "error"},
    "operation_outputs": {"workflow_uuid", "function_id", "function_name", "output", "error", "child_workflow_id"}
    | {"started_at_epoch_ms", "completed_at_epoch_ms", "serialization", "application_name"},
    "notifications": {"destination_uuid", "topic", "message", "message_uuid", "created_at_epoch_ms"}
    | {"serialization", "consumed", "consumed_by_function_id"},
}


def test_dbos_is_the_version_this_was_written_against() -> None:
    assert importlib.metadata.version("dbos") == VERSION


def test_its_system_database_takes_what_it_is_given() -> None:
    for name, wanted in USED.items():
        method = getattr(dbos._sys_db.SystemDatabase, name)
        assert wanted <= set(inspect.signature(method).parameters), name


def test_its_status_rows_have_the_fields_that_are_filled_in() -> None:
    source = inspect.getsource(dbos._sys_db.SystemDatabase._insert_workflow_status)
    assert "owner_xid=(\n                creator_xid if wf_status" in source, "a direct start owns its row"
    assert set(dbos._sys_db.WorkflowStatusInternal.__annotations__) >= {"workflow_uuid", "shard_key", "inputs"}


def test_its_tables_have_the_columns_that_are_read_and_written() -> None:
    tables = {
        table.name: {column.name for column in table.columns} for table in SystemSchema.metadata_obj.sorted_tables
    }
    for name, wanted in COLUMNS.items():
        assert wanted <= tables[name], name


def test_importing_the_orchestrator_does_not_import_dbos() -> None:
    code = "import sys, quantum_suite.services.workflows.dbos.workflows; print('dbos' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_sqlite_is_asked_for_the_time_as_newer_ones_know_it(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/runs.db")
    try:
        before = time.time()
        with engine.connect() as connection:
            told = connection.exec_driver_sql("SELECT unixepoch('subsec')").scalar_one()
        assert before - 0.001 <= told <= time.time() + 0.001
    finally:
        engine.close()

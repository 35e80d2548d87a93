"""A run is shown as a task: each status with what belongs to it and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quantum_suite.hub.call import RpcError
from quantum_suite.hub.tasks.extension import RELATED_TASK
from quantum_suite.hub.tasks.forms import (
    create_result,
    detailed,
    expired,
    handshake_result,
    handshake_task,
)
from quantum_suite.services.workflows.interface import Failure, Owner, Run

NOW = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
DONE = {"result": {"resultType": "complete", "content": [{"type": "text", "text": "x"}]}}
BASE = Run(
    id="task_1",
    workflow="hub.task",
    version="1",
    state="running",
    owner=Owner("local"),
    arguments={"ttl_ms": 60_000},
    created_at=NOW,
    updated_at=NOW,
)
EVERY = {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"}


def run(**fields: Any) -> Run:
    return replace(BASE, **fields)


@pytest.mark.parametrize(
    ("fields", "status", "more"),
    [
        ({"state": "queued"}, "working", set()),
        ({"state": "running"}, "working", set()),
        ({"state": "waiting"}, "working", set()),
        ({"state": "paused"}, "working", {"statusMessage"}),
        ({"status": {"progress": {"progress": 1, "total": 4, "message": "m"}}}, "working", {"statusMessage"}),
        ({"status": {"input": {"1.a": {"method": "m"}}}}, "input_required", {"statusMessage", "inputRequests"}),
        ({"status": {"input": None}}, "working", set()),
        ({"state": "completed", "result": DONE}, "completed", {"result"}),
        ({"state": "completed", "result": DONE, "status": {"input": {"1.a": {}}}}, "completed", {"result"}),
        (
            {"state": "failed", "status": {"error": {"code": -3, "message": "no"}}},
            "failed",
            {"error", "statusMessage"},
        ),
        ({"state": "failed", "failure": Failure("internal_error", "x")}, "failed", {"error", "statusMessage"}),
        ({"state": "cancelled"}, "cancelled", {"statusMessage"}),
        (
            {"state": "cancelled", "failure": Failure("deadline_exceeded", "late")},
            "failed",
            {"error", "statusMessage"},
        ),
    ],
)
def test_each_status_carries_what_belongs_to_it(fields, status, more) -> None:
    task = detailed(run(**fields))
    assert task["status"] == status
    assert task.keys() == EVERY | more
    created = create_result(run(**fields))
    assert not {"result", "error", "inputRequests", "requestState"} & created.keys()
    assert created["resultType"] == "task"


def test_times_are_rfc_3339_in_utc_and_durations_whole_milliseconds() -> None:
    task = detailed(run(updated_at=NOW + timedelta(minutes=2)))
    assert (task["createdAt"], task["lastUpdatedAt"]) == ("2026-11-25T10:30:00.000Z", "2026-11-25T10:32:00.000Z")
    assert type(task["ttlMs"]) is int
    assert type(task["pollIntervalMs"]) is int


def test_the_longer_a_task_takes_the_less_often_it_is_worth_asking() -> None:
    asked = [detailed(run(updated_at=NOW + timedelta(seconds=s)))["pollIntervalMs"] for s in (0, 30, 300, 3000)]
    assert asked == sorted(set(asked))


def test_a_task_expires_to_the_millisecond() -> None:
    assert not expired(run(), NOW + timedelta(milliseconds=59_999))
    assert expired(run(), NOW + timedelta(milliseconds=60_000))


def test_2025_11_25_has_its_own_names_and_calls_a_tools_error_a_failure() -> None:
    error = {"result": {"resultType": "complete", "content": [], "isError": True, "_meta": {"theirs": 1}}}
    ended = run(state="completed", result=error)
    assert handshake_task(ended)["status"] == "failed"
    assert detailed(ended)["status"] == "completed"
    assert {"ttl", "pollInterval"} <= handshake_task(ended).keys()
    assert not {"ttlMs", "pollIntervalMs"} & handshake_task(ended).keys()
    result = handshake_result(ended)
    assert result == {
        "content": [],
        "isError": True,
        "_meta": {"theirs": 1, RELATED_TASK: {"taskId": "task_1"}},
    }


def test_a_failed_run_without_words_of_its_own_tells_the_orchestrators() -> None:
    failed = run(state="failed", failure=Failure("deadline_exceeded", "too long", "Ask for less."))
    with pytest.raises(RpcError, match="too long") as caught:
        handshake_result(failed)
    assert caught.value.code == -32001
    assert caught.value.data == {"code": "deadline_exceeded", "hint": "Ask for less."}


@pytest.mark.parametrize("said", [None, "x", {}, {"progress": None}, {"progress": None, "message": ""}])
def test_progress_that_says_nothing_is_not_told(said) -> None:
    assert "statusMessage" not in detailed(run(status={"progress": said}))

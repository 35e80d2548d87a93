"""What only a durable orchestrator can show: restarts, versions, hostile rows, its events, and that it ends."""

import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from quantum_suite.core.errors import ConfigurationError, Conflict, Damaged, Fenced, Unavailable
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.workflows.dbos.workflows import DbosWorkflows, open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS, run_stream
from quantum_suite.services.workflows.interface import (
    FINAL,
    Body,
    Json,
    Owner,
    Queue,
    Run,
    RunContext,
    StepContext,
    Verdict,
    Workflow,
)
from quantum_suite.services.workflows.queues import machine_queues

pytestmark = pytest.mark.anyio

OWNER = Owner("user:alice")
BOUND_SECONDS = 50.0


class Place:
    """Where one orchestrator keeps what it keeps, over restarts."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "runs.db"
        self.leases: LeaseStore = MemoryLeaseStore()
        self.events = MemoryEventStore(EventRegistry(RUN_EVENTS))

    @asynccontextmanager
    async def opened(
        self,
        *workflows: Workflow,
        name: str = "w",
        queues: Sequence[Queue] = (),
        work: bool = True,
        most_attempts: int = 100,
    ) -> AsyncIterator[DbosWorkflows]:
        async with open_workflows(
            self.path,
            workflows,
            queues,
            events=self.events,
            leases=self.leases,
            worker_id=name,
            work=work,
            lease_seconds=1.0,
            poll_seconds=0.05,
            most_attempts=most_attempts,
        ) as opened:
            yield opened

    def execute(self, statement: str, *parameters: Json) -> list[tuple[Json, ...]]:
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            return database.execute(statement, parameters).fetchall()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    found = Place(tmp_path)
    async with found.events:
        yield found


async def until(workflows: DbosWorkflows, run_id: str, state: str) -> Run:
    with anyio.fail_after(BOUND_SECONDS):
        while (run := await workflows.get(run_id)).state != state:
            await anyio.sleep(0.01)
    return run


async def ended(workflows: DbosWorkflows, run_id: str) -> Run:
    run = await workflows.wait(run_id, BOUND_SECONDS)
    assert run.state in FINAL, run
    return run


def counting(did: list[str], *steps: str) -> Body:
    async def body(run: RunContext, arguments: Json) -> Json:
        for step in steps:

            async def work(context: StepContext) -> Json:
                did.append(context.step)
                return context.step

            if step == "ask":
                await run.approval("Go on?", timeout_seconds=60)
            else:
                await run.step(step, work)
        return list(steps)

    return body


async def test_a_run_goes_on_after_a_restart_from_where_it_was(place: Place) -> None:
    did: list[str] = []
    workflow = Workflow("counting", counting(did, "one", "ask", "two"))
    async with place.opened(workflow) as first:
        run = await first.start("counting", None, OWNER)
        asked = (await until(first, run.id, "waiting")).status["approval"]
    async with place.opened(workflow) as second:
        assert (await until(second, run.id, "waiting")).status["approval"] == asked
        assert did == ["one"]
        await second.approve(run.id, Verdict(True, "user:bob"))
        assert (await ended(second, run.id)).result == ["one", "ask", "two"]
    assert did == ["one", "two"]


async def test_every_transition_is_told_once_and_in_order(place: Place) -> None:
    workflow = Workflow("counting", counting([], "one", "ask", "two"))
    async with place.opened(workflow) as first:
        run = await first.start("counting", None, OWNER)
        await until(first, run.id, "waiting")
        await first.pause(run.id)
        await first.resume(run.id)
        await until(first, run.id, "waiting")
    async with place.opened(workflow) as second:
        await until(second, run.id, "waiting")
        await second.approve(run.id, Verdict(True, "user:bob", "a private reason"))
        await ended(second, run.id)
    page = await place.events.read_stream(run_stream(run.id))
    assert [event.type.removeprefix("orchestrator.") for event in page] == [
        "run.started.v1",
        "step.completed.v1",
        "run.waiting.v1",
        "approval.asked.v1",
        "run.paused.v1",
        "run.resumed.v1",
        "run.recovered.v1",
        "approval.given.v1",
        "step.completed.v1",
        "step.completed.v1",
        "run.completed.v1",
    ]
    given = page[7]
    assert (given.principal, given.data, given.correlation_id) == (
        "user:bob",
        {"step": 2, "approved": True},
        run.id,
    )
    assert "private" not in f"{page}"


async def test_what_the_relay_carried_before_it_died_is_not_carried_twice(place: Place) -> None:
    async with place.opened(Workflow("counting", counting([], "one"))) as first:
        run = await first.start("counting", None, OWNER)
        await ended(first, run.id)
    told = await place.events.read_stream(run_stream(run.id))
    for number, event in enumerate(told[:2]):  # as after a kill between the append and the deletion
        place.execute(
            "INSERT INTO workflow_outbox (id, run_id, type, data, at_ms) VALUES (?, ?, ?, ?, ?)",
            event.id,
            run.id,
            event.type.removesuffix(".v1"),
            '{"workflow": "counting", "version": "1"}' if number == 0 else '{"step": 1, "name": "one"}',
            0,
        )
    async with place.opened(Workflow("counting", counting([], "one"))):
        with anyio.fail_after(BOUND_SECONDS):
            while place.execute("SELECT 1 FROM workflow_outbox"):
                await anyio.sleep(0.01)
    assert await place.events.read_stream(run_stream(run.id)) == told


async def test_an_old_run_finishes_on_the_code_it_began_with(place: Place) -> None:
    did: list[str] = []
    old, new = counting(did, "old", "ask", "old end"), counting(did, "new", "new end")
    async with place.opened(Workflow("changing", old, version="1")) as first:
        run = await first.start("changing", None, OWNER)
        await until(first, run.id, "waiting")
        await first.approve(run.id, Verdict(True, "user:bob"))
    async with place.opened(Workflow("changing", new, version="2", older={"1": old})) as second:
        finished = await ended(second, run.id)
        assert (finished.version, finished.result) == ("1", ["old", "ask", "old end"])
        assert (await ended(second, (await second.start("changing", None, OWNER)).id)).version == "2"


async def test_an_old_run_whose_code_is_gone_is_refused_and_goes_on_where_it_is_there(place: Place) -> None:
    did: list[str] = []
    old = counting(did, "one", "ask", "two")
    async with place.opened(Workflow("changing", old)) as first:
        run = await first.start("changing", None, OWNER)
        await until(first, run.id, "waiting")
    async with place.opened(Workflow("changing", counting(did, "other"), version="2")) as second:
        refused = await ended(second, run.id)
        assert refused.failure is not None
        assert (refused.state, refused.failure.code) == ("failed", "version_unknown")
        with pytest.raises(Conflict, match="version 1 of changing"):
            await second.resume(run.id)
    async with place.opened(Workflow("changing", counting(did, "other"), version="2", older={"1": old})) as third:
        await third.resume(run.id)
        await until(third, run.id, "waiting")
        await third.approve(run.id, Verdict(True, "user:bob"))
        assert (await until(third, run.id, "completed")).result == ["one", "ask", "two"]
    assert did == ["one", "two"]


async def test_code_that_changed_without_its_version_is_found_out(place: Place) -> None:
    async with place.opened(Workflow("changing", counting([], "one", "ask", "two"))) as first:
        run = await first.start("changing", None, OWNER)
        await until(first, run.id, "waiting")
    async with place.opened(Workflow("changing", counting([], "another", "ask", "two"))) as second:
        failure = (await ended(second, run.id)).failure
    assert failure is not None
    assert (failure.code, failure.message) == (
        "diverged",
        "Step 1 was 'one' when the run began, and is 'another' in the present code.",
    )


async def test_a_run_whose_workers_are_lost_again_and_again_fails_in_the_end(place: Place) -> None:
    workflow = Workflow("counting", counting([], "ask"))
    async with place.opened(workflow) as opened:
        run_id = (await opened.start("counting", None, OWNER)).id
        await until(opened, run_id, "waiting")
    place.execute("UPDATE workflow_status SET recovery_attempts = 2")
    async with place.opened(workflow, most_attempts=2) as opened:
        failure = (await ended(opened, run_id)).failure
        assert failure is not None
        assert failure.code == "recovery_exhausted"


class _Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


async def test_rows_that_somebody_else_wrote_are_not_executed(place: Place) -> None:
    import base64
    import pickle

    hostile = base64.b64encode(pickle.dumps(_Boom())).decode()
    workflow = Workflow("counting", counting([], "ask", "one"))
    async with place.opened(workflow) as first:
        runs = [(await first.start("counting", None, OWNER)).id for _ in range(2)]
        for run_id in runs:
            await until(first, run_id, "waiting")
    place.execute("UPDATE workflow_input SET inputs = ? WHERE workflow_uuid = ?", hostile, runs[0])
    place.execute(
        "INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, serialization, "
        "retention_timestamp) VALUES (?, 2, '2: one', ?, 'py_pickle', 0)",
        runs[1],
        hostile,
    )
    place.execute("UPDATE workflow_status SET serialization = 'py_pickle'")
    async with place.opened(workflow) as second:
        with anyio.fail_after(BOUND_SECONDS):
            while place.execute("SELECT count(*) FROM workflow_runs WHERE state = 'failed'") != [(2,)]:
                await anyio.sleep(0.02)
        with pytest.raises(Damaged):
            await second.get(runs[0])


async def test_a_worker_that_loses_its_lease_stops_and_goes_on_as_a_newcomer(place: Place) -> None:
    seen: list[BaseException] = []
    held = anyio.Event()

    async def body(run: RunContext, arguments: Json) -> Json:
        async def work(step: StepContext) -> Json:
            if not held.is_set():
                held.set()
                with anyio.CancelScope(shield=True):  # a step that cannot be stopped at once
                    with anyio.fail_after(BOUND_SECONDS):
                        while not seen:
                            try:
                                await step.check()
                            except Fenced as error:
                                seen.append(error)
                            await anyio.sleep(0.02)
            return "done"

        return await run.step("work", work)

    async with place.opened(Workflow("body", body)) as opened:
        run = await opened.start("body", None, OWNER)
        await held.wait()
        place.execute("UPDATE workflow_status SET owner_xid = NULL, status = 'ENQUEUED', queue_name = 'direct'")
        assert (await ended(opened, run.id)).result == "done"
        (kept,) = await opened.steps(run.id)
    assert (len(seen), kept.result) == (1, "done")


async def test_a_second_process_of_the_same_name_takes_over_and_the_first_works_no_more(place: Place) -> None:
    workflow = Workflow("counting", counting([], "ask"))
    async with place.opened(workflow) as first:
        run = await first.start("counting", None, OWNER)
        await until(first, run.id, "waiting")
        async with place.opened(workflow) as second:
            with anyio.fail_after(BOUND_SECONDS):
                while not [
                    row for row in place.execute("SELECT type FROM workflow_outbox") if "recovered" in row[0]
                ]:
                    page = await place.events.read_stream(run_stream(run.id))
                    if any(event.type == "orchestrator.run.recovered.v1" for event in page):
                        break
                    await anyio.sleep(0.02)
            await until(second, run.id, "waiting")
            await second.approve(run.id, Verdict(True, "user:bob"))
            assert (await ended(second, run.id)).state == "completed"
            queued = await first.start("counting", None, OWNER)
            await until(second, queued.id, "waiting")


async def test_who_does_not_work_starts_and_steers_what_others_work_on(place: Place) -> None:
    workflow = Workflow("counting", counting([], "ask"))
    async with place.opened(workflow, name="clerk", work=False) as clerk:
        run = await clerk.start("counting", None, OWNER)
        assert (await clerk.wait(run.id, 0.1)).state == "queued"
        async with place.opened(workflow):
            await until(clerk, run.id, "waiting")
            await clerk.approve(run.id, Verdict(True, "user:bob"))
            assert (await ended(clerk, run.id)).state == "completed"


async def test_it_opens_and_closes_again_and_again_and_leaves_nothing_behind(place: Place) -> None:
    workflow = Workflow("counting", counting([], "ask"))
    for _ in range(5):
        async with place.opened(workflow) as opened:
            await opened.start("counting", None, OWNER)
    assert not [thread for thread in threading.enumerate() if "dbos" in thread.name.lower()]


async def test_an_error_in_the_block_comes_out_as_it_was(place: Place) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with place.opened(Workflow("counting", counting([], "ask"))):
            raise LookupError("mine")


async def test_a_database_that_cannot_be_had_is_unavailable(tmp_path: Path) -> None:
    events, leases = MemoryEventStore(EventRegistry(RUN_EVENTS)), MemoryLeaseStore()
    blocked = tmp_path / "file"
    blocked.write_text("")
    for where in (blocked / "runs.db", "postgresql://127.0.0.1:9/nothing"):
        with pytest.raises(Unavailable):
            async with open_workflows(where, (), (), events=events, leases=leases, worker_id="w"):
                pass
    with pytest.raises(ConfigurationError):
        async with open_workflows(tmp_path / "runs.db", (), (), events=events, leases=leases, worker_id="a:b"):
            pass


def test_queues_follow_the_machine() -> None:
    small = {queue.name: queue.worker_concurrency for queue in machine_queues(1, 1024**3)}
    large = {queue.name: queue.worker_concurrency for queue in machine_queues(16, 8 * 1024**3)}
    assert (small, large) == ({"default": 8, "heavy": 1}, {"default": 128, "heavy": 4})
    assert {queue.name for queue in machine_queues()} == {"default", "heavy"}


async def test_a_run_that_does_not_begin_before_its_deadline_fails(place: Place) -> None:
    workflow = Workflow("counting", counting([], "ask"))
    async with place.opened(workflow, queues=[Queue("single", concurrency=1)]) as opened:
        first = await opened.start("counting", None, OWNER, queue="single")
        await until(opened, first.id, "waiting")
        late = await opened.start("counting", None, OWNER, queue="single", deadline_seconds=0.05)
        failure = (await ended(opened, late.id)).failure
    assert failure is not None
    assert failure.code == "deadline_exceeded"


async def test_events_that_cannot_be_told_hold_up_no_others(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = Workflow("counting", counting([], "one"))
    async with place.opened(workflow) as opened:
        place.execute(
            "INSERT INTO workflow_outbox (id, run_id, type, data, at_ms) "
            "VALUES ('evt_x', 'no stream', 'orchestrator.run.completed', '{}', 0)"
        )
        run = await opened.start("counting", None, OWNER)
        await ended(opened, run.id)
        with anyio.fail_after(BOUND_SECONDS):
            while len(await place.events.read_stream(run_stream(run.id))) < 3:
                await anyio.sleep(0.01)
    assert place.execute("SELECT id FROM workflow_outbox") == [("evt_x",)]
    assert "the events of no stream stay behind" in caplog.text


FULL_DISK = """
import resource, sys, anyio
from pathlib import Path
from quantum_suite.core.errors import Unavailable
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import Owner, Workflow

async def body(run, arguments):
    async def work(step):
        await full.wait()
        return "x" * 20_000
    return len(await run.step("work", work))

async def main(path):
    global full
    full = anyio.Event()
    async with MemoryEventStore(EventRegistry(RUN_EVENTS)) as events, open_workflows(
        path, [Workflow("w", body)], (), events=events, leases=MemoryLeaseStore(), worker_id="w"
    ) as opened:
        runs = []
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
        try:
            while True:
                runs.append((await opened.start("w", "x" * 20_000, Owner("user:alice"))).id)
        except Unavailable as error:
            print(error)
        full.set()
        await anyio.sleep(0.3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        states = [(await opened.wait(run, 20)).state for run in runs]
        print(len(states) > 5, set(states))

anyio.run(main, Path(sys.argv[1]))
"""


async def test_a_full_disk_delays_runs_and_refuses_new_ones(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "runs.db")]
    with anyio.fail_after(60):
        done = await anyio.run_process(command, check=False)
    printed = done.stdout.decode().splitlines()
    assert printed[1:] == ["True {'completed'}"], done.stderr.decode()
    assert "cannot be used now" in printed[0]

"""What every orchestrator guarantees, on every adapter."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from reference.backends import Postgres

from quantum_suite.core.errors import CallerError, Conflict, EngineError, NotFound, Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import (
    APPROVAL_STATUS,
    FINAL,
    PROGRESS_STATUS,
    Body,
    Json,
    Owner,
    Queue,
    Retry,
    Run,
    RunContext,
    RunQuery,
    Schedule,
    StepContext,
    StepFailed,
    Verdict,
    Workflow,
    Workflows,
)
from quantum_suite.services.workflows.memory import MemoryWorkflows

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 50.0
ALICE = Owner("user:alice", ("operator",), ("/repos/a",))
WORKFLOWS: list[Workflow] = []
DID: defaultdict[str, list[str]] = defaultdict(list)
"""What the steps of a run did, in order."""
GATES: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
"""What a test lets happen."""
RUNNING: defaultdict[str, int] = defaultdict(int)


def workflow(body: Body) -> Body:
    WORKFLOWS.append(Workflow(body.__name__, body))  # type: ignore[attr-defined]  # bodies here are functions
    return body


def doing(what: str, result: Json = None) -> Callable[[StepContext], Awaitable[Json]]:
    async def work(step: StepContext) -> Json:
        DID[step.run_id].append(what)
        return result

    return work


def undoing(what: str) -> Callable[[StepContext, Json], Awaitable[None]]:
    async def undo(step: StepContext, result: Json) -> None:
        DID[step.run_id].append(f"undo {what} {result}")

    return undo


@workflow
async def adds(run: RunContext, arguments: Json) -> Json:
    first = await run.step("first", doing("first", arguments["a"]))
    second = await run.step("second", doing("second", arguments["b"]))
    return {"sum": first + second, "for": run.owner.principal, "id": run.run_id}


@workflow
async def fails(run: RunContext, arguments: Json) -> Json:
    async def fail(step: StepContext) -> Json:
        DID[step.run_id].append("fail")
        if arguments == "engine":
            raise EngineError("It broke.", "Mend it.", engine="saw")
        if arguments == "argument":
            raise CallerError("That is no number.", "Give one.")
        raise ZeroDivisionError("a secret")

    await run.step("one", doing("one", 1), undo=undoing("one"))
    await run.step("two", doing("two", 2), undo=undoing("two"))
    await run.step("three", doing("three", 3))
    await run.step("fail", fail, retry=Retry(3, 0.001, 2, 0.002))


@workflow
async def catches(run: RunContext, arguments: Json) -> Json:
    async def fail(step: StepContext) -> Json:
        raise CallerError("No.", "Never.")

    try:
        await run.step("try", fail)
    except StepFailed as failed:
        return [failed.step, failed.failure.code, failed.failure.message, failed.failure.hint]


@workflow
async def recovers(run: RunContext, arguments: Json) -> Json:
    async def flaky(step: StepContext) -> Json:
        DID[step.run_id].append(step.idempotency_key)
        if step.attempt < 3:
            raise Unavailable("Not now.")
        return step.attempt

    return await run.step("flaky", flaky, retry=Retry(5, 0.001, 2, 0.002))


@workflow
async def dawdles(run: RunContext, arguments: Json) -> Json:
    await run.step("slow", lambda step: anyio.sleep(60), deadline_seconds=0.05)


@workflow
async def returns_no_json(run: RunContext, arguments: Json) -> Json:
    async def work(step: StepContext) -> Json:
        return object()

    await run.step("work", work)


@workflow
async def reports(run: RunContext, arguments: Json) -> Json:
    async def work(step: StepContext) -> Json:
        await step.check()
        await step.progress(1, 4, "a quarter")
        await GATES[step.run_id].wait()

    await run.report("phase", {"name": "begun"})
    await run.step("work", work)
    await run.report("phase", {"name": "done"})


@workflow
async def listens(run: RunContext, arguments: Json) -> Json:
    heard = [await run.wait_for_signal("news", timeout_seconds=30) for _ in range(arguments)]
    return [*heard, await run.wait_for_signal("never", timeout_seconds=0.01)]


@workflow
async def asks(run: RunContext, arguments: Json) -> Json:
    verdict = await run.approval(
        "Apply it?", approvers=["admin"], timeout_seconds=arguments, details={"diff": "+1"}
    )
    return [verdict.approved, verdict.by, verdict.reason]


@workflow
async def sleeps(run: RunContext, arguments: Json) -> Json:
    await run.sleep(arguments)
    return "awake"


@workflow
async def waits_in_step(run: RunContext, arguments: Json) -> Json:
    async def wait(step: StepContext) -> Json:
        DID[step.run_id].append("wait")
        await GATES[arguments or step.run_id].wait()
        return "waited"

    await run.step("one", doing("one", 1), undo=undoing("one"))
    waited = await run.step("wait", wait)
    return [waited, await run.step("last", doing("last", "last"))]


@workflow
async def has_child(run: RunContext, arguments: Json) -> Json:
    return {"child said": await run.child(arguments["workflow"], arguments["arguments"])}


@workflow
async def branches(run: RunContext, arguments: Json) -> Json:
    async def branch(inner: RunContext, name: str) -> Json:
        first = await inner.step("step", doing(f"{name}1", f"{name}1"))
        return [first, await inner.step("step", doing(f"{name}2", f"{name}2"))]

    async def left(inner: RunContext) -> Json:
        return await branch(inner, "l")

    async def right(inner: RunContext) -> Json:
        return await branch(inner, "r")

    return await run.parallel([left, right], concurrency=2)


@workflow
async def breaks_branches(run: RunContext, arguments: Json) -> Json:
    async def good(inner: RunContext) -> Json:
        await anyio.sleep(0.01)
        return await inner.step("good", doing("good"), undo=undoing("good"))

    async def bad(inner: RunContext) -> Json:
        async def fail(step: StepContext) -> Json:
            raise CallerError("Bad.")

        await inner.step("bad", fail)

    await run.parallel([good, bad, good])


@workflow
async def fails_once(run: RunContext, arguments: Json) -> Json:
    async def fail(step: StepContext) -> Json:
        DID[step.run_id].append("try")
        if not GATES[step.run_id].is_set():
            raise CallerError("Not yet.")
        return "done"

    first = await run.step("first", doing("first", "first"))
    return [first, await run.step("try", fail)]


@workflow
async def queued(run: RunContext, arguments: Json) -> Json:
    async def work(step: StepContext) -> Json:
        group, name = arguments
        RUNNING[group] += 1
        DID[group].append(f"{name} with {RUNNING[group]}")
        await GATES[group].wait()
        RUNNING[group] -= 1

    await run.step("work", work)


@asynccontextmanager
async def orchestrator(kind: str, place: str) -> AsyncIterator[Workflows]:
    queues = (Queue("pairs", worker_concurrency=2), Queue("single", concurrency=1), Queue("rare", rate=(2, 60)))
    async with AsyncExitStack() as stack:
        if kind == "memory":
            yield await stack.enter_async_context(MemoryWorkflows(WORKFLOWS, queues))
            return
        events = await stack.enter_async_context(MemoryEventStore(EventRegistry(RUN_EVENTS)))
        opened = open_workflows(
            place, WORKFLOWS, queues, events=events, leases=MemoryLeaseStore(), worker_id="w", poll_seconds=0.05
        )
        yield await stack.enter_async_context(opened)


@pytest.fixture(params=["memory", "sqlite", "postgres"], scope="module")
async def workflows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Workflows]:
    """One orchestrator for all tests of an adapter: each has runs of its own."""
    place = str(tmp_path_factory.mktemp("runs") / "runs.db")
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres_server")
        place = server.new_database(new_id("contract"))
    async with orchestrator(request.param, place) as opened:
        yield opened


async def until(workflows: Workflows, run_id: str, state: str) -> Run:
    with anyio.fail_after(BOUND_SECONDS):
        while (run := await workflows.get(run_id)).state != state:
            assert run.state not in FINAL, run
            await anyio.sleep(0.005)
    return run


async def did(run_id: str, what: str) -> None:
    with anyio.fail_after(BOUND_SECONDS):
        while what not in DID[run_id]:
            await anyio.sleep(0.005)


async def ended(workflows: Workflows, run_id: str) -> Run:
    run = await workflows.wait(run_id, BOUND_SECONDS)
    assert run.state in FINAL, run
    return run


async def test_a_run_returns_its_result_and_remembers_its_steps(workflows: Workflows) -> None:
    begun = await workflows.start("adds", {"a": 1, "b": 2}, ALICE)
    assert (begun.workflow, begun.version, begun.owner, begun.arguments) == ("adds", "1", ALICE, {"a": 1, "b": 2})
    run = await ended(workflows, begun.id)
    assert (run.state, run.result) == ("completed", {"sum": 3, "for": "user:alice", "id": begun.id})
    assert begun.created_at <= run.updated_at <= datetime.now(UTC) + timedelta(seconds=1)
    steps = await workflows.steps(begun.id)
    assert [(step.number, step.name, step.state, step.result) for step in steps] == [
        (1, "first", "completed", 1),
        (2, "second", "completed", 2),
    ]


async def test_starting_an_id_again_returns_the_run_there_is(workflows: Workflows) -> None:
    run_id = new_id("run")
    first = await workflows.start("adds", {"a": 1, "b": 2}, ALICE, run_id=run_id)
    again = await workflows.start("adds", {"a": 5, "b": 5}, ALICE, run_id=run_id)
    assert (first.id, again.id, again.arguments) == (run_id, run_id, {"a": 1, "b": 2})
    assert (await ended(workflows, run_id)).result["sum"] == 3
    assert DID[run_id] == ["first", "second"]


async def test_what_is_not_there_is_named(workflows: Workflows) -> None:
    with pytest.raises(NotFound, match="no workflow 'nothing'"):
        await workflows.start("nothing", {}, ALICE)
    with pytest.raises(NotFound, match="no queue 'nowhere'"):
        await workflows.start("adds", {}, ALICE, queue="nowhere")
    for call in (workflows.get, workflows.steps, workflows.cancel, workflows.pause, workflows.resume):
        with pytest.raises(NotFound, match="no run run_x"):
            await call("run_x")
    with pytest.raises(NotFound):
        await workflows.signal("run_x", "news", 1)
    with pytest.raises(NotFound):
        await workflows.approve("run_x", Verdict(True, "user:bob"))
    with pytest.raises(NotFound):
        await workflows.fork("run_x", 1, ALICE)


async def test_a_failed_step_fails_the_run_and_what_was_done_is_undone_last_first(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("fails", "argument", ALICE)).id)
    assert run.state == "failed"
    assert run.failure is not None
    assert (run.failure.code, run.failure.message, run.failure.hint) == (
        "caller_error",
        "That is no number.",
        "Give one.",
    )
    assert DID[run.id] == ["one", "two", "three", "fail", "undo two 2", "undo one 1"]
    names = [(step.name, step.state) for step in await workflows.steps(run.id)]
    assert names[3:] == [("fail", "failed"), ("undo two", "completed"), ("undo one", "completed")]
    with pytest.raises(Conflict, match="undone"):
        await workflows.resume(run.id)


async def test_errors_that_may_pass_are_tried_again_under_the_same_key(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("recovers", None, ALICE)).id)
    assert run.result == 3
    assert len(DID[run.id]) == 3
    assert len(set(DID[run.id])) == 1
    assert DID[run.id][0].startswith(run.id)


async def test_a_bug_is_shown_by_its_id_alone(workflows: Workflows, caplog: pytest.LogCaptureFixture) -> None:
    run = await ended(workflows, (await workflows.start("fails", "bug", ALICE)).id)
    assert DID[run.id].count("fail") == 3
    assert run.failure is not None
    assert run.failure.code == "internal_error"
    assert "secret" not in f"{run.failure}"
    assert "a secret" in caplog.text


async def test_an_engines_failure_keeps_its_code(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("fails", "engine", ALICE)).id)
    assert run.failure is not None
    assert (run.failure.code, run.failure.message) == ("engine_error", "It broke.")


async def test_code_may_catch_what_failed(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("catches", None, ALICE)).id)
    assert (run.state, run.result) == ("completed", ["try", "caller_error", "No.", "Never."])


async def test_a_step_ends_at_its_deadline(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("dawdles", None, ALICE)).id)
    assert run.failure is not None
    assert run.failure.code == "unavailable"
    assert "longer than 0.05 seconds" in run.failure.message


async def test_a_result_that_is_no_json_fails_its_step(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("returns_no_json", None, ALICE)).id)
    assert run.state == "failed"


async def test_a_run_says_how_it_stands(workflows: Workflows) -> None:
    run_id = (await workflows.start("reports", None, ALICE)).id
    with anyio.fail_after(BOUND_SECONDS):
        while PROGRESS_STATUS not in (run := await workflows.get(run_id)).status:
            await anyio.sleep(0.005)
    assert run.status["phase"] == {"name": "begun"}
    assert run.status[PROGRESS_STATUS] == {"step": "work", "progress": 1, "total": 4, "message": "a quarter"}
    GATES[run_id].set()
    assert (await ended(workflows, run_id)).status["phase"] == {"name": "done"}


async def test_signals_come_in_order_and_once_for_a_key(workflows: Workflows) -> None:
    run_id = (await workflows.start("listens", 3, ALICE)).id
    await workflows.signal(run_id, "news", 1)
    await workflows.signal(run_id, "news", {"two": 2}, key="k")
    await workflows.signal(run_id, "news", {"two": 2}, key="k")
    assert (await until(workflows, run_id, "waiting")).state == "waiting"
    await workflows.signal(run_id, "news", 3)
    run = await ended(workflows, run_id)
    assert run.result == [1, {"two": 2}, 3, None]


async def test_a_verdict_counts_once(workflows: Workflows) -> None:
    run_id = (await workflows.start("asks", 60, ALICE)).id
    run = await until(workflows, run_id, "waiting")
    asked = run.status[APPROVAL_STATUS]
    assert (asked["question"], asked["approvers"], asked["details"]) == ("Apply it?", ["admin"], {"diff": "+1"})
    assert datetime.fromisoformat(asked["expires_at"]) > datetime.now(UTC)
    answers: list[str] = []

    async def answer(by: str) -> None:
        try:
            await workflows.approve(run_id, Verdict(True, by, "fine"))
            answers.append(by)
        except Conflict:
            pass

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(answer, f"user:{number}")
    run = await ended(workflows, run_id)
    assert run.result == [True, answers[0], "fine"]
    assert len(answers) == 1
    assert run.status[APPROVAL_STATUS] is None
    with pytest.raises(Conflict, match="no approval"):
        await workflows.approve(run_id, Verdict(False, "user:late"))


async def test_an_approval_nobody_gives_is_none(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("asks", 0.02, ALICE)).id)
    assert run.result[:2] == [False, None]


async def test_a_run_sleeps(workflows: Workflows) -> None:
    assert (await ended(workflows, (await workflows.start("sleeps", 0.03, ALICE)).id)).result == "awake"


async def test_waiting_ends_at_its_timeout_with_the_run_as_it_stands(workflows: Workflows) -> None:
    run_id = (await workflows.start("sleeps", 600, ALICE)).id
    assert (await workflows.wait(run_id, 0.05)).state in ("running", "waiting")
    assert (await workflows.cancel(run_id)).state == "cancelled"


async def test_a_child_returns_its_result(workflows: Workflows) -> None:
    child = {"workflow": "adds", "arguments": {"a": 2, "b": 3}}
    run = await ended(workflows, (await workflows.start("has_child", child, ALICE)).id)
    assert run.result["child said"]["sum"] == 5
    (step,) = await workflows.steps(run.id)
    assert step.child is not None
    assert ((await workflows.get(step.child)).parent, run.result["child said"]["id"]) == (run.id, step.child)


async def test_a_childs_failure_is_its_parents(workflows: Workflows) -> None:
    child = {"workflow": "fails", "arguments": "engine"}
    run = await ended(workflows, (await workflows.start("has_child", child, ALICE)).id)
    assert run.failure is not None
    assert (run.state, run.failure.message) == ("failed", "It broke.")


async def test_cancelling_a_run_cancels_its_children(workflows: Workflows) -> None:
    child = {"workflow": "waits_in_step", "arguments": None}
    run_id = (await workflows.start("has_child", child, ALICE)).id
    with anyio.fail_after(BOUND_SECONDS):
        while not DID[f"{run_id}.1"]:
            await anyio.sleep(0.005)
    assert (await workflows.cancel(run_id)).state == "cancelled"
    assert (await ended(workflows, f"{run_id}.1")).state == "cancelled"


async def test_branches_keep_their_steps_apart(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("branches", None, ALICE)).id)
    assert run.result == [["l1", "l2"], ["r1", "r2"]]
    assert sorted(DID[run.id]) == ["l1", "l2", "r1", "r2"]


async def test_all_branches_end_before_one_fails_them(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("breaks_branches", None, ALICE)).id)
    assert run.failure is not None
    assert (run.state, run.failure.message) == ("failed", "Bad.")
    assert DID[run.id] == ["good", "good", "undo good None", "undo good None"]


async def test_cancelling_ends_a_step_that_is_under_way_and_undoes_those_before(workflows: Workflows) -> None:
    run_id = (await workflows.start("waits_in_step", None, ALICE)).id
    await did(run_id, "wait")
    run = await workflows.cancel(run_id)
    assert (run.state, run.failure) == ("cancelled", None)
    assert DID[run_id] == ["one", "wait", "undo one 1"]
    assert (await workflows.cancel(run_id)).state == "cancelled"


async def test_a_paused_run_ends_its_step_and_begins_no_other(workflows: Workflows) -> None:
    run_id = (await workflows.start("waits_in_step", None, ALICE)).id
    await did(run_id, "wait")
    assert (await workflows.pause(run_id)).state == "paused"
    GATES[run_id].set()
    with anyio.fail_after(BOUND_SECONDS):
        while len([step for step in await workflows.steps(run_id) if step.state == "completed"]) < 2:
            await anyio.sleep(0.005)
    assert (await workflows.wait(run_id, 0.1)).state == "paused"
    assert DID[run_id] == ["one", "wait"]
    await workflows.resume(run_id)
    assert (await ended(workflows, run_id)).result == ["waited", "last"]
    assert DID[run_id] == ["one", "wait", "last"]


async def test_pausing_and_resuming_at_once_leaves_a_run_as_it_was(workflows: Workflows) -> None:
    run_id = (await workflows.start("asks", 60, ALICE)).id
    await until(workflows, run_id, "waiting")
    for _ in range(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(workflows.pause, run_id)
            tasks.start_soon(workflows.resume, run_id)
        await workflows.resume(run_id)
    await until(workflows, run_id, "waiting")
    await workflows.approve(run_id, Verdict(True, "user:bob"))
    assert (await ended(workflows, run_id)).result == [True, "user:bob", None]


async def test_a_paused_run_can_be_cancelled(workflows: Workflows) -> None:
    run_id = (await workflows.start("asks", 60, ALICE)).id
    await until(workflows, run_id, "waiting")
    await workflows.pause(run_id)
    assert (await workflows.get(run_id)).state == "paused"
    assert (await workflows.cancel(run_id)).state == "cancelled"


async def test_what_arrives_while_a_run_is_paused_is_not_lost(workflows: Workflows) -> None:
    run_id = (await workflows.start("asks", 60, ALICE)).id
    await until(workflows, run_id, "waiting")
    await workflows.pause(run_id)
    await workflows.approve(run_id, Verdict(True, "user:bob"))
    await workflows.resume(run_id)
    assert (await ended(workflows, run_id)).result == [True, "user:bob", None]


async def test_pausing_what_has_ended_is_a_conflict(workflows: Workflows) -> None:
    run = await ended(workflows, (await workflows.start("sleeps", 0, ALICE)).id)
    with pytest.raises(Conflict):
        await workflows.pause(run.id)
    with pytest.raises(Conflict):
        await workflows.resume(run.id)


async def test_a_failed_run_goes_on_from_the_step_that_failed(workflows: Workflows) -> None:
    run_id = (await workflows.start("fails_once", None, ALICE)).id
    assert (await ended(workflows, run_id)).state == "failed"
    GATES[run_id].set()
    await workflows.resume(run_id)
    with anyio.fail_after(BOUND_SECONDS):
        while (run := await workflows.get(run_id)).state != "completed":
            await anyio.sleep(0.005)
    assert (run.result, run.failure) == (["first", "done"], None)
    assert DID[run_id] == ["first", "try", "try"]


async def test_a_fork_takes_results_over_and_does_the_rest_again(workflows: Workflows) -> None:
    first = await ended(workflows, (await workflows.start("adds", {"a": 1, "b": 2}, ALICE)).id)
    forked = await workflows.fork(first.id, 2, Owner("user:bob"))
    assert (forked.forked_from, forked.owner.principal, forked.arguments) == (
        first.id,
        "user:bob",
        {"a": 1, "b": 2},
    )
    assert (await ended(workflows, forked.id)).result == {"sum": 3, "for": "user:bob", "id": forked.id}
    assert DID[forked.id] == ["second"]
    with pytest.raises(CallerError):
        await workflows.fork(first.id, 0, ALICE)


async def test_a_queue_bounds_what_runs_at_once(workflows: Workflows) -> None:
    for queue, bound in (("pairs", 2), ("single", 1)):
        group = new_id("group")
        runs = [await workflows.start("queued", [group, str(n)], ALICE, queue=queue) for n in range(4)]
        with anyio.fail_after(BOUND_SECONDS):
            while len(DID[group]) < bound:
                await anyio.sleep(0.005)
        states = [(await workflows.get(run.id)).state for run in runs]
        assert (states.count("running"), states.count("queued")) == (bound, 4 - bound)
        GATES[group].set()
        assert [(await ended(workflows, run.id)).state for run in runs] == ["completed"] * 4
        assert max(int(entry.rpartition(" ")[2]) for entry in DID[group]) == bound


async def test_what_is_urgent_comes_first(workflows: Workflows) -> None:
    first, group = new_id("group"), new_id("group")
    blocker = await workflows.start("queued", [first, "blocker"], ALICE, queue="single")
    await did(first, "blocker with 1")
    runs = [
        await workflows.start("queued", [group, name], ALICE, queue="single", priority=priority)
        for name, priority in (("late", 5), ("middle", 2), ("soon", 1), ("also middle", 2))
    ]
    GATES[group].set()
    GATES[first].set()
    for run in (blocker, *runs):
        await ended(workflows, run.id)
    assert [entry.rpartition(" with")[0] for entry in DID[group]] == ["soon", "middle", "also middle", "late"]


async def test_a_queues_rate_bounds_its_starts(workflows: Workflows) -> None:
    group = new_id("group")
    GATES[group].set()
    runs = [await workflows.start("queued", [group, str(n)], ALICE, queue="rare") for n in range(3)]
    for run in runs[:2]:
        await ended(workflows, run.id)
    assert (await workflows.wait(runs[2].id, 0.3)).state == "queued"
    assert (await workflows.cancel(runs[2].id)).state == "cancelled"
    assert len(DID[group]) == 2


async def test_a_run_may_begin_later(workflows: Workflows) -> None:
    begun = anyio.current_time()
    run = await workflows.start("sleeps", 0, ALICE, delay_seconds=0.2)
    assert run.state == "queued"
    assert (await ended(workflows, run.id)).result == "awake"
    assert anyio.current_time() - begun >= 0.2


async def test_a_run_ends_at_its_deadline_and_undoes_what_it_did(workflows: Workflows) -> None:
    run = await workflows.start("waits_in_step", None, ALICE, deadline_seconds=0.1)
    run = await ended(workflows, run.id)
    assert run.failure is not None
    assert run.failure.code == "deadline_exceeded"
    assert DID[run.id] == ["one", "wait", "undo one 1"]


async def test_runs_are_found_newest_first_page_by_page(workflows: Workflows) -> None:
    owner = Owner(new_id("user"))
    runs = [await workflows.start("sleeps", 0, owner) for _ in range(5)]
    for run in runs:
        await ended(workflows, run.id)
    other = await workflows.start("asks", 60, owner)
    await until(workflows, other.id, "waiting")
    found: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = await workflows.find(RunQuery(owner=owner.principal, limit=2, cursor=cursor))
        found += [run.id for run in page]
        if cursor is None:
            break
    assert found[0] == other.id
    assert sorted(found) == sorted([*(run.id for run in runs), other.id])
    waiting, _ = await workflows.find(RunQuery(owner=owner.principal, state="waiting"))
    completed, _ = await workflows.find(RunQuery(owner=owner.principal, state="completed", workflow="sleeps"))
    none, _ = await workflows.find(RunQuery(owner=owner.principal, workflow="adds"))
    assert ([run.id for run in waiting], len(completed), none) == ([other.id], 5, [])
    with pytest.raises(CallerError, match="cursor"):
        await workflows.find(RunQuery(cursor="nonsense"))
    await workflows.cancel(other.id)


async def test_schedules_start_runs_by_the_clock(workflows: Workflows) -> None:
    name, owner = new_id("schedule"), Owner(new_id("user"), ("viewer",))
    every_second = Schedule(name, "* * * * * *", "adds", {"a": 1, "b": 1}, owner)
    with pytest.raises(CallerError, match="no schedule"):
        await workflows.schedule(Schedule(name, "every day", "adds", {}, owner))
    with pytest.raises(NotFound):
        await workflows.schedule(Schedule(name, "* * * * *", "nothing", {}, owner))
    await workflows.schedule(every_second)
    assert every_second in await workflows.schedules()
    with anyio.fail_after(BOUND_SECONDS):
        while not (found := (await workflows.find(RunQuery(owner=owner.principal)))[0]):
            await anyio.sleep(0.02)
    assert (await ended(workflows, found[0].id)).result["sum"] == 2
    paused = Schedule(name, "0 3 * * *", "adds", None, owner, paused=True)
    await workflows.schedule(paused)
    assert [one for one in await workflows.schedules() if one.name == name] == [paused]
    await workflows.unschedule(name)
    await workflows.unschedule(name)
    assert name not in [one.name for one in await workflows.schedules()]


async def test_old_runs_are_forgotten(workflows: Workflows) -> None:
    owner = Owner(new_id("user"))
    gone = await ended(workflows, (await workflows.start("sleeps", 0, owner)).id)
    stays = await workflows.start("asks", 60, owner)
    await until(workflows, stays.id, "waiting")
    with anyio.fail_after(BOUND_SECONDS):
        while not await workflows.forget(datetime.now(UTC) + timedelta(seconds=1)):
            await anyio.sleep(0.02)
        while (await workflows.find(RunQuery(owner=owner.principal, state="completed")))[0]:
            await workflows.forget(datetime.now(UTC) + timedelta(seconds=1))
    with pytest.raises(NotFound):
        await workflows.get(gone.id)
    assert (await workflows.cancel(stays.id)).state == "cancelled"

"""Recorded histories against present code."""

from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import (
    APPROVAL_STATUS,
    Json,
    Owner,
    RunContext,
    StepContext,
    StepFailed,
    Verdict,
    Workflow,
)
from quantum_suite.services.workflows.replay import History, dump_history, first_divergence, load_history

pytestmark = pytest.mark.anyio

OWNER = Owner("user:alice", ("operator",), ("/work",))


async def work(step: StepContext) -> Json:
    return {"did": step.step}


async def fail(step: StepContext) -> Json:
    raise CallerError("No.")


async def original(run: RunContext, arguments: Json) -> Json:
    async def branch(inner: RunContext) -> Json:
        return await inner.step("branch", work)

    await run.report("phase", "begun")
    first = await run.step("scan", work)
    both = await run.parallel([branch, branch])
    try:
        await run.step("fail", fail)
    except StepFailed as failed:
        code = failed.failure.code
    await run.sleep(0)
    verdict = await run.approval("Go on?", timeout_seconds=20)
    heard = await run.wait_for_signal("news", timeout_seconds=0)
    return [first, both, code, verdict.by, heard, await run.child("small", arguments)]


async def small(run: RunContext, arguments: Json) -> Json:
    return await run.step("only", work)


async def renamed(run: RunContext, arguments: Json) -> Json:
    await run.step("look", work)


async def shortened(run: RunContext, arguments: Json) -> Json:
    return await run.step("scan", work)


async def lengthened(run: RunContext, arguments: Json) -> Json:
    result = await original(run, arguments)
    await run.step("report", work)
    return result


async def differing(run: RunContext, arguments: Json) -> Json:
    await original(run, arguments)
    return "something else"


@pytest.fixture(scope="module")
async def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    path = tmp_path_factory.mktemp("history") / "runs.db"
    workflows = [Workflow("original", original, version="2"), Workflow("small", small)]
    async with (
        MemoryEventStore(EventRegistry(RUN_EVENTS)) as events,
        open_workflows(path, workflows, (), events=events, leases=MemoryLeaseStore(), worker_id="w") as opened,
    ):
        run = await opened.start("original", {"a": 1}, OWNER)
        with anyio.fail_after(50):
            while not (await opened.get(run.id)).status.get(APPROVAL_STATUS):
                await anyio.sleep(0.01)
        await opened.approve(run.id, Verdict(True, "user:bob"))
        assert (await opened.wait(run.id, 20)).state == "completed"
        return await opened.history(run.id)


async def test_a_history_survives_its_file(history: History, tmp_path: Path) -> None:
    assert (history.workflow, history.version, history.owner) == ("original", "2", OWNER)
    assert load_history(dump_history(history)) == history


async def test_code_that_did_not_change_does_what_it_did(history: History) -> None:
    assert await first_divergence(original, history) is None


async def test_the_first_difference_is_named(history: History) -> None:
    differences = {
        body.__name__: str(await first_divergence(body, history))
        for body in (renamed, shortened, lengthened, differing)
    }
    assert differences["renamed"] == "at 1: recorded scan, now look"
    assert differences["shortened"] == "at 2.1.1: recorded branch, now nothing"
    assert differences["lengthened"] == "at 8: recorded nothing, now report"
    assert differences["differing"].startswith("at the end: recorded completed with [")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "owner": 3}'])
def test_what_is_no_history_is_refused(text: str) -> None:
    with pytest.raises(CallerError, match="no recorded history"):
        load_history(text)

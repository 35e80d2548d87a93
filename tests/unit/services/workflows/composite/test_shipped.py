"""The shipped definitions, from end to end, over tools that are functions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from reference.hub import eventually
from reference.offered_tools import OfferedTools, finding, security_tools
from reference.services import event_log

from quantum_suite.core.events import Event
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import Json, Owner, Run, Verdict
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS, posture_stream

pytestmark = pytest.mark.anyio
ADA = Owner("ada", ("operator",))
SECONDS = 50.0


@dataclass
class Bench:
    """An engine that knows the shipped definitions."""

    tools: OfferedTools
    engine: MemoryWorkflows
    objects: MemoryObjectStore
    events: MemoryEventStore

    async def run(self, workflow: str, inputs: Json) -> Run:
        """Run a definition to its end."""
        run = await self.engine.start(workflow, inputs, ADA)
        return await self.engine.wait(run.id, SECONDS)

    async def report(self, run: Run) -> str:
        """Return what a run wrote."""
        return (await self.objects.get(run.status["report"]["digest"])).decode()

    async def postures(self) -> list[Event]:
        """Return the events of the nightly series."""
        return [event for event in await self.events.read() if event.stream == posture_stream("ada", "nightly")]


@asynccontextmanager
async def bench(findings: list[dict[str, Json]], page: int = 100) -> AsyncIterator[Bench]:
    tools = OfferedTools()
    security_tools(tools, findings, page=page)
    objects, events = MemoryObjectStore(), event_log(POSTURE_EVENTS)
    composites = Composites(tools, MemoryDefinitionStore(), standard_actions(events, objects))
    async with MemoryWorkflows(composites.workflows()) as engine:
        yield Bench(tools, engine, objects, events)


async def test_a_change_without_findings_needs_no_decision() -> None:
    async with bench([]) as b:
        run = await b.run("secure_change", {"path": "/repos/a"})
        assert (run.state, run.result["decision"], run.failure) == ("completed", "not_needed", None)
        assert "**No decision was needed**" in await b.report(run)


async def test_all_pages_of_findings_are_read_and_the_five_worst_causes_explained() -> None:
    findings = [finding(number, family=f"f{number}", rule_id=f"R{number}") for number in range(7)]
    async with bench(findings, page=3) as b:
        run = await b.engine.start("secure_change", {"path": "/repos/a"}, ADA)

        async def waiting() -> Json:
            return (await b.engine.get(run.id)).status.get("approval")

        asked = await eventually(waiting, seconds=SECONDS)
        assert len(asked["details"]["about"]["groups"]) == 7
        await b.engine.approve(run.id, Verdict(True, "ada"))
        ended = await b.engine.wait(run.id, SECONDS)
        assert ended.result["decision"] == "approved"
        assert [call.arguments["cursor"] for call in b.tools.called("qsecure_list_findings")] == [None, "3", "6"]
        assert len(b.tools.called("qsecure_explain_finding")) == 5


async def test_a_posture_is_compared_with_the_night_before_and_recorded_as_an_event() -> None:
    findings = [finding(1), finding(2)]
    async with bench(findings) as b:
        inputs = {"workspaces": ["/repos/a", "/repos/absent"]}
        first = await b.run("nightly_posture", inputs)
        assert first.result == {
            "since": None,
            "appeared": 0,
            "gone": 0,
            "findings": 2,
            "not_scanned": 1,
            "report": first.status["report"]["digest"],
        }
        assert "not scanned: qsecure_scan_repository failed: path: /repos/absent" in (
            await b.report(first)
        ).replace("\\_", "_")
        findings[1:] = [finding(3), finding(4)]
        second = await b.run("nightly_posture", inputs)
        assert (second.result["appeared"], second.result["gone"]) == (2, 1)
        assert second.result["since"] is not None
        assert [event.data["appeared"] for event in await b.postures()] == [0, 2]
        assert f"`{finding(3)['fingerprint']}`" in await b.report(second)
        other = await b.run("nightly_posture", {**inputs, "series": "weekly"})
        assert other.result["since"] is None


async def test_inputs_that_do_not_fit_fail_the_run_before_anything_is_called() -> None:
    async with bench([]) as b:
        run = await b.run("nightly_posture", {"workspaces": []})
        assert run.failure is not None
        assert "inputs.workspaces: Its length is 0. 1 is the least." in run.failure.message
        assert b.tools.calls == []

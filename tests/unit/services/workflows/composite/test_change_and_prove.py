"""The shipped workflow change_and_prove, over tools that are functions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from reference.offered_change_tools import BAD_PATCH, GOOD_PATCH, change_tools
from reference.offered_tools import OfferedTools
from reference.services import event_log

from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import Json, Owner, Run
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS

pytestmark = pytest.mark.anyio
ADA = Owner("ada", ("operator",))
SECONDS = 50.0
GOAL: Json = {"path": "/repos/calc", "goal": "Return the larger of two numbers | quickly."}


class Proving:
    """An engine that runs change_and_prove, and what it wrote."""

    def __init__(self, tools: OfferedTools, engine: MemoryWorkflows, objects: MemoryObjectStore) -> None:
        self.tools = tools
        self._engine = engine
        self._objects = objects

    async def run(self, **inputs: Any) -> tuple[Run, str]:
        run = await self._engine.start("change_and_prove", {**GOAL, **inputs}, ADA)
        ended = await self._engine.wait(run.id, SECONDS)
        report = ended.status.get("report")
        return ended, (await self._objects.get(report["digest"])).decode() if report else ""


@asynccontextmanager
async def proving(**model: Any) -> AsyncIterator[Proving]:
    tools, objects = OfferedTools(), MemoryObjectStore()
    change_tools(tools, **model)
    actions = standard_actions(event_log(POSTURE_EVENTS), objects)
    composites = Composites(tools, MemoryDefinitionStore(), actions)
    async with MemoryWorkflows(composites.workflows()) as engine:
        yield Proving(tools, engine, objects)


async def test_a_patch_that_passes_every_gate_is_proved_with_its_evidence() -> None:
    async with proving() as it:
        run, report = await it.run(patch=GOOD_PATCH, mutation_score_at_least=0.9)
    assert (run.state, run.failure) == ("completed", None)
    assert (run.result["accepted"], run.result["author"], run.result["change"]) == (True, "assistant", "run_0a1b")
    assert (run.result["refused_at"], run.result["not_assessed"]) == (None, 1)
    submitted = it.tools.called("qagent_submit_change")[0].arguments
    assert (submitted["patch"], submitted["mutation_score_at_least"]) == (GOOD_PATCH, 0.9)
    assert it.tools.called("qagent_generate_code") == []
    assert "**Accepted.**" in report
    assert "**Goal.** Return the larger of two numbers \\| quickly." in report
    assert "| mutation | passed | It is \\| as it should be. | 0.25 |" in report
    assert "the bar is 0.9" in report
    assert "- types: no checker." in report
    assert "`quantum://qagent/changes/run_0a1b/diff`" in report


async def test_a_patch_whose_mutants_survive_is_refused_at_that_gate_with_the_place() -> None:
    async with proving() as it:
        run, report = await it.run(patch=BAD_PATCH)
    assert (run.state, run.result["accepted"], run.result["refused_at"]) == ("completed", False, "mutation")
    assert run.result["change"] is None
    assert run.result["next_step"] == "Mend at calc.py:6."
    assert "**Refused at `mutation`.**" in report
    assert "- `mutant-survived` at `calc.py:6` (blocks): With 'a" in report
    assert "and 2 more, in the verdict" in report


async def test_the_configured_model_writes_where_no_patch_is_given() -> None:
    async with proving(model="local/small") as it:
        run, report = await it.run()
    assert (run.result["accepted"], run.result["author"]) == (True, "model")
    assert it.tools.called("qagent_submit_change")[0].arguments["patch"] == GOOD_PATCH
    assert "Written by the configured model local/small, 321 tokens." in report


async def test_a_model_that_writes_no_change_is_refused_without_a_judgement() -> None:
    async with proving(model="local/small", writes=None) as it:
        run, report = await it.run()
    assert (run.result["accepted"], run.result["author"], run.result["refused_at"]) == (False, "model", "applies")
    assert it.tools.called("qagent_submit_change") == []
    assert "no change that applies" in report


async def test_without_patch_and_model_the_caller_is_told_to_write_it() -> None:
    async with proving() as it:
        run, report = await it.run()
    assert (run.result["accepted"], run.result["author"], run.result["refused_at"]) == (
        False,
        "assistant",
        "author",
    )
    assert "no model is configured" in run.result["reason"]
    assert "as patch" in run.result["next_step"]
    assert "`quantum://qagent/changes/run_plan/context`" in report


async def test_a_workspace_that_is_not_granted_fails_the_run_with_the_reason() -> None:
    async with proving() as it:
        run, _ = await it.run(path="/absent", patch=GOOD_PATCH)
    assert run.state == "failed"
    assert run.failure is not None
    assert "not in a workspace" in run.failure.message

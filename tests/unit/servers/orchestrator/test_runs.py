"""Runs are started in their caller's name, and their ids tell what they come from."""

import pytest
from reference.offered_tools import OfferedTools

from quantum_suite.core.principals import LOCAL
from quantum_suite.servers.orchestrator.runs import Runs
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.matching import origin_of
from quantum_suite.services.workflows.interface import Owner, Workflows
from quantum_suite.services.workflows.memory import MemoryWorkflows

pytestmark = pytest.mark.anyio

CAUSE = f"saga.on-outer.{'a' * 24}.d2-{'b' * 24}"


async def test_what_a_run_that_an_event_started_starts_through_a_tool_comes_from_that_event_too() -> None:
    tools = OfferedTools()
    composites = Composites(tools, MemoryDefinitionStore(), [], tools)
    await composites.define("name: inner\nsteps: [{set: {a: 1}}]", Owner("local", ("admin",)))
    async with MemoryWorkflows(composites.workflows()) as engine:

        async def opened() -> Workflows:
            return engine

        runs = Runs(opened, composites)
        plain = await runs.start("inner", {}, LOCAL, key="run_1:1", cause="run_1")
        assert origin_of(plain.id) is None
        caused = await runs.start("inner", {}, LOCAL, key=f"{CAUSE}.3:1", cause=f"{CAUSE}.3")
        again = await runs.start("inner", {}, LOCAL, key=f"{CAUSE}.3:1", cause=f"{CAUSE}.3")
        assert caused.id == again.id
        origin = origin_of(caused.id)
        assert origin is not None
        assert (origin.run, origin.definition, origin.depth) == (CAUSE, "outer", 2)
        deeper = await runs.start("inner", {}, LOCAL, key=f"{caused.id}:1", cause=caused.id)
        assert origin_of(deeper.id) == origin
        assert len(deeper.id) == len(caused.id)

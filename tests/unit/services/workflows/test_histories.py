"""Recorded histories of the shipped workflows, replayed against the present code.

Where one diverges, runs that are under way would go astray: give the workflow (or the interpreter) a new version,
and record anew with `python tests/reference/record_histories.py`.
"""

import dataclasses

import pytest
from reference.record_histories import HISTORIES, composites

from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.workflows.composite import composites as module
from quantum_suite.services.workflows.composite.shipped import SHIPPED, shipped_sources
from quantum_suite.services.workflows.interface import Body
from quantum_suite.services.workflows.replay import Divergence, History, first_divergence, load_history

pytestmark = pytest.mark.anyio
FILES = sorted(HISTORIES.glob("*.json"))


def history(name: str) -> History:
    return load_history((HISTORIES / name).read_text(encoding="utf-8"))


def body_of(recorded: History) -> Body:
    """Return the code that a run of this version would go on with."""
    known = {workflow.name: workflow for workflow in composites(MemoryDefinitionStore(), []).workflows()}
    workflow = known[recorded.workflow]
    bodies = {**workflow.older, workflow.version: workflow.body}
    assert recorded.version in bodies, f"version {recorded.version} of {recorded.workflow} is no longer known"
    return bodies[recorded.version]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_the_present_code_does_what_a_recorded_run_did(file: object) -> None:
    recorded = history(str(file))
    assert await first_divergence(body_of(recorded), recorded) is None


def test_every_shipped_workflow_and_the_interpreter_have_histories_of_their_present_version() -> None:
    present = {
        (workflow.name, workflow.version) for workflow in composites(MemoryDefinitionStore(), []).workflows()
    }
    recorded = {(one.workflow, one.version) for one in map(history, map(str, FILES))}
    assert present <= recorded


@pytest.mark.parametrize("name", SHIPPED)
async def test_a_definition_that_changed_without_a_new_version_is_found_out(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changed = {
        one: (version, text.replace("\nsteps:\n", "\nsteps:\n  - {id: extra, sleep: 1}\n"))
        for one, (version, text) in shipped_sources().items()
    }
    monkeypatch.setattr(module, "shipped_sources", lambda: changed)
    recorded = next(one for one in map(history, map(str, FILES)) if one.workflow == name)
    found = await first_divergence(body_of(recorded), recorded)
    assert found is not None
    assert (found.place, found.now) == ("1", "sleep")


async def test_an_interpreter_that_leaves_a_step_out_is_found_out() -> None:
    recorded = next(one for one in map(history, map(str, FILES)) if one.workflow == "composite")
    more = dataclasses.replace(recorded.steps[-1], place="99", name="forgotten")
    longer = dataclasses.replace(recorded, steps=(*recorded.steps, more))
    assert await first_divergence(body_of(longer), longer) == Divergence("99", "forgotten", None)

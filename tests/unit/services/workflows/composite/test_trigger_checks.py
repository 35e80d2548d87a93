"""What is wrong with a definition's triggers is told at its place, with what would be right."""

import textwrap

import pytest
from reference.offered_tools import OfferedTools, security_tools

from quantum_suite.core.scan_events import SCAN_EVENTS
from quantum_suite.services.audit.call_events import CALL_EVENTS
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.sagas.saga_events import SAGA_EVENTS
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.trigger_events import TRIGGER_EVENTS, starting_events
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import Owner

pytestmark = pytest.mark.anyio

TYPES = starting_events((*SCAN_EVENTS, *RUN_EVENTS, *CALL_EVENTS, *SAGA_EVENTS, *TRIGGER_EVENTS))
REST = """
inputs: {path: {type: string, required: true}, deep: {type: boolean}}
steps: [{call: qsecure_scan_repository, with: {path: "${{ inputs.path }}"}}]
"""


async def problems_of(triggers: str, *, known: bool = True) -> list[str]:
    tools = OfferedTools()
    security_tools(tools, [])
    composites = Composites(tools, MemoryDefinitionStore(), [], tools, TYPES if known else None)
    text = "name: x\non:\n" + textwrap.indent(textwrap.dedent(triggers), "  ") + REST
    return [str(problem) for problem in (await composites.check(text, Owner("ada")))[1]]


def scanned(*lines: str) -> str:
    return "\n".join(["- event: qsecure.scan.completed", *(f"  {line}" for line in lines)])


RIGHT = {
    "everything": scanned(
        "where: event.data.counts.critical > 0 and event.principal == 'key:ci'",
        "key: ${{ event.data.root }}",
        "inputs: {path: '${{ event.data.root }}', deep: true}",
    ),
    "several, and members of the event": (
        "- {event: qsecure.scan.started, inputs: {path: '${{ event.id }}${{ event.time }}'}}\n"
        "- {event: orchestrator.run.failed, key: '${{ event.stream }}', inputs: {path: '${{ event.data.code }}'}}"
    ),
}
WRONG = {
    "an unknown event": (
        "- {event: qsecure.scan.complete, inputs: {path: a}}",
        "on[0].event (line 3, column 13): No event 'qsecure.scan.complete' starts workflows. "
        "Did you mean 'qsecure.scan.completed'?",
    ),
    "an event of the machinery": (
        "- {event: orchestrator.step.completed, inputs: {path: a}}",
        "on[0].event (line 3, column 13): No event 'orchestrator.step.completed' starts workflows. "
        "Did you mean 'orchestrator.run.completed'?",
    ),
    "a field the event does not carry": (
        scanned("where: event.data.count.high > 0", "inputs: {path: a}"),
        "on[0].where (line 4, column 12): The event carries no 'count'. Did you mean 'counts'?",
    ),
    "a field deeper in the event": (
        scanned("where: event.data.counts.hihg > 0", "inputs: {path: a}"),
        "on[0].where (line 4, column 12): The event carries no 'hihg'. Did you mean 'high'?",
    ),
    "a member that events do not have": (
        scanned("inputs: {path: '${{ event.root }}'}"),
        "on[0].inputs.path (line 4, column 20): An event has no 'root'. There is: correlation_id, data, id, "
        "principal, stream, subject, time, type.",
    ),
    "what belongs to the steps": (
        scanned("key: ${{ inputs.path }}", "inputs: {path: a}"),
        "on[0].key (line 4, column 10): There is no 'inputs' here. "
        "A trigger sees the event alone: write event.data.<field>.",
    ),
    "an input that is missing": (
        scanned("inputs: {deep: true}"),
        "on[0].inputs (line 4, column 13): 'path' is missing.",
    ),
    "inputs that are missing": (scanned(), "on[0] (line 3, column 5): 'path' is missing."),
    "an input there is not": (
        scanned("inputs: {path: a, depe: true}"),
        "on[0].inputs.depe (line 4, column 23): There is no 'depe' here. Did you mean 'deep'?",
    ),
    "an input of another type": (
        scanned("inputs: {path: a, deep: 3}"),
        "on[0].inputs.deep (line 4, column 29): This is a number. Give a boolean.",
    ),
    "inputs that are no mapping": (
        scanned("inputs: [a]"),
        "on[0].inputs (line 4, column 13): 'inputs' must be a mapping. Write path: ${{ event.data.root }}.",
    ),
    "an unknown key": (
        scanned("inptus: {path: a}", "inputs: {path: a}"),
        "on[0].inptus (line 4, column 5): A trigger has no key 'inptus'. Did you mean 'inputs'?",
    ),
    "no event": (
        "- inputs: {path: a}",
        "on[0] (line 3, column 5): 'event' is missing. Name one, like qsecure.scan.completed.",
    ),
    "no expression": (
        scanned("where: event.data.counts. > 0", "inputs: {path: a}"),
        "on[0].where (line 4, column 12): 'event.data.counts. > 0' is no expression: invalid syntax.",
    ),
    "no list": (
        "event: qsecure.scan.completed",
        "on (line 3, column 3): 'on' must be a list that is not empty. Begin each with '- '.",
    ),
    "too many": (
        "\n".join(["- {event: qsecure.scan.completed, inputs: {path: a}}"] * 21),
        "on (line 3, column 3): There are 21 triggers. 20 is the most.",
    ),
}


@pytest.mark.parametrize("triggers", RIGHT.values(), ids=RIGHT)
async def test_a_right_trigger_is_right(triggers: str) -> None:
    assert await problems_of(triggers) == []


@pytest.mark.parametrize(("triggers", "told"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_told_at_its_place(triggers: str, told: str) -> None:
    assert told in await problems_of(triggers)


async def test_types_and_fields_are_not_checked_where_they_are_not_known() -> None:
    assert await problems_of("- {event: a.b.c, where: event.data.x > 0, inputs: {path: a}}", known=False) == []


def test_events_that_every_run_leaves_start_nothing() -> None:
    aggregates = {name.rpartition(".")[0] for name in TYPES}
    assert aggregates == {"qsecure.scan", "orchestrator.run", "orchestrator.approval"}

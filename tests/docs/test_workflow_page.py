"""The page on workflows: definitions are right, messages are what is printed, and nothing is left out."""

import re
from typing import Any

import pytest
from docs.pages import ROOT
from reference.offered_tools import OfferedTools, security_tools

from quantum_suite.hub.data_plane.stores import registered_types
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.functions import FUNCTIONS
from quantum_suite.services.workflows.composite.model import Kind
from quantum_suite.services.workflows.composite.shipped import SHIPPED
from quantum_suite.services.workflows.composite.trigger_checks import EVENT_MEMBERS
from quantum_suite.services.workflows.composite.trigger_events import starting_events
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.tools.orchestrator.actions import standard_actions

pytestmark = pytest.mark.anyio

PAGE = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
RIGHT = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WRONG = re.findall(r"```yaml wrong\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
EVENTS = starting_events(registered_types())


def composites() -> Composites:
    tools = OfferedTools()
    security_tools(tools, [])
    actions = standard_actions(MemoryEventStore(EventRegistry()), MemoryObjectStore())
    return Composites(tools, MemoryDefinitionStore(), actions, tools, EVENTS)


async def problems(text: str) -> list[str]:
    return [str(problem) for problem in (await composites().check(text, Owner("reader")))[1]]


@pytest.mark.parametrize("text", RIGHT, ids=lambda text: text.partition("\n")[0])
async def test_a_definition_that_is_shown_is_right(text: str) -> None:
    assert await problems(text) == []


@pytest.mark.parametrize(("text", "told"), WRONG)
async def test_what_is_wrong_is_told_as_shown(text: str, told: str) -> None:
    assert await problems(text) == told.splitlines()


def test_there_is_something_to_check() -> None:
    assert len(RIGHT) >= 2
    assert WRONG


@pytest.mark.parametrize("name", EVENT_MEMBERS)
def test_everything_a_trigger_sees_of_an_event_is_documented(name: str) -> None:
    assert f"`event.{name}`" in PAGE


def named() -> list[Any]:
    actions = standard_actions(MemoryEventStore(EventRegistry()), MemoryObjectStore())
    return [*Kind.__args__, *FUNCTIONS, *SHIPPED, *(action.name for action in actions)]  # type: ignore[attr-defined]  # of a Literal


@pytest.mark.parametrize("name", named())
def test_every_kind_of_step_function_action_and_shipped_definition_is_documented(name: str) -> None:
    assert re.search(rf"`{name}[`(]", PAGE)

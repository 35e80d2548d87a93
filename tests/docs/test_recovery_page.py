"""What the page on recovery shows is right, and says all there is to say."""

import re
from typing import get_args

import pytest
from docs.pages import ROOT
from reference.offered_tools import OfferedTools

from quantum_suite.core.principals import LOCAL
from quantum_suite.servers.module_server import ModuleServer
from quantum_suite.servers.qinfra.recovery_tools import add_recovery_tools
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.recovery.interface import Point
from quantum_suite.services.recovery.opening import open_recovery
from quantum_suite.services.recovery.plan import Reach
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.qinfra.run_drill import Driller

pytestmark = pytest.mark.anyio

PAGE = (ROOT / "docs" / "recovery.md").read_text(encoding="utf-8")


async def test_the_schedule_that_is_shown_calls_the_drill_as_it_is_offered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("page")
    server = ModuleServer("qinfra", title="QInfra", instructions="", version="0", log_level="WARNING")
    recovery = open_recovery(home, MemoryKeyProvider(), environ={}, scratch=home / "drills")
    driller = Driller(recovery, MemoryEventStore(EventRegistry()), MemoryCapacity(1))
    add_recovery_tools(server, recovery, driller, Workspaces((home,)))

    async def never(call: object) -> dict[str, object]:
        raise AssertionError

    offered = OfferedTools()
    for tool in await server.list_tools():
        offered.add(f"qinfra_{tool.name}", never, tool.input_schema, output=tool.output_schema)
    actions = standard_actions(MemoryEventStore(EventRegistry()), MemoryObjectStore())
    composites = Composites(offered, MemoryDefinitionStore(), actions, offered, ())
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert (await composites.check(text, Owner(LOCAL.id)))[1] == []
    wrong = text.replace("rto_seconds", "rto")
    assert (await composites.check(wrong, Owner(LOCAL.id)))[1] != []


@pytest.mark.parametrize("word", [*get_args(Reach), *get_args(Point)])
def test_every_judgement_and_every_kind_of_moment_is_documented(word: str) -> None:
    assert f"`{word}`" in PAGE

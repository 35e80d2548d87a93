"""Works on one run of `secure_change` in a process that can be killed.

    workflow_child.py DIRECTORY RUN_ID

Every tool call is written down as it begins, one line each: the tool, its idempotency key, its arguments.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.offered_tools import OfferedTools, finding, security_tools
from reference.services import event_log

from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.objects.opening import open_object_store
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import Owner, Workflows
from quantum_suite.services.workflows.tool_calls import Progress, ToolCall
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS

ADA = Owner("ada", ("operator",))
FINDINGS = [finding(number, family=f"f{number}", rule_id=f"R{number}") for number in range(7)]


@dataclass
class WrittenDown:
    """Tools whose calls are written to a file as they begin, and take a moment."""

    tools: OfferedTools
    log: Path

    async def call(self, owner: Owner, call: ToolCall, progress: Progress | None = None) -> dict[str, Any]:
        line = json.dumps([call.tool, call.idempotency_key, dict(call.arguments)])
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        return await self.tools.call(owner, call, progress)


@asynccontextmanager
async def engine(directory: Path) -> AsyncIterator[tuple[Workflows, ObjectStore]]:
    """Open the engine and the objects in a directory."""
    tools = OfferedTools()
    security_tools(tools, FINDINGS, page=2)
    objects = open_object_store((directory / "objects").as_uri(), {})
    actions = standard_actions(event_log(POSTURE_EVENTS), objects)
    composites = Composites(WrittenDown(tools, directory / "calls"), MemoryDefinitionStore(), actions)
    async with open_workflows(
        directory / "runs.db",
        composites.workflows(),
        events=event_log(RUN_EVENTS),
        leases=MemoryLeaseStore(),
        worker_id="worker",
    ) as workflows:
        yield workflows, objects


async def main(directory: Path, run_id: str) -> None:
    """Start the run, unless it is there, and work on it until killed."""
    async with engine(directory) as (workflows, _):
        await workflows.start("secure_change", {"path": "/repos/change"}, ADA, run_id=run_id)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])

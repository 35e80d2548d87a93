"""Records histories of the shipped workflows, to be replayed against later code.

    python tests/reference/record_histories.py

Run it when a workflow has got a new version, or the interpreter has; histories of versions still known stay.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.offered_change_tools import BAD_PATCH, GOOD_PATCH, change_tools
from reference.offered_tools import OfferedTools, asking, complete, failed, finding, security_tools
from reference.services import event_log

from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import APPROVAL_STATUS, FINAL, Json, Owner, Run, Verdict
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.services.workflows.replay import dump_history
from quantum_suite.services.workflows.tool_calls import ToolCall
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS

HISTORIES = Path(__file__).resolve().parents[1] / "data" / "histories"
ADA = Owner("ada", ("operator",))

EVERYTHING = """\
name: everything
inputs: {list: {type: array, default: [1, 2, 3]}}
steps:
  - {id: first, call: echo, with: {n: 1}, undo: {call: echo, with: {n: 0}}}
  - {id: broken, call: broken, on_error: continue}
  - {id: skipped, when: "${{ steps.broken.state == 'completed' }}", call: echo}
  - {id: guarded, call: guarded}
  - id: both
    parallel:
      one: [{id: left, call: echo, with: {n: 2}}]
      two: [{sleep: 0}, {id: right, call: broken, on_error: continue}]
  - id: each
    for_each: {items: inputs.list, concurrency: 2, steps: [{id: say, call: echo, with: {n: "${{ item }}"}}]}
  - set: {n: 0}
  - id: again
    loop: {while: vars.n < 2, max: 5, steps: [{set: {n: "${{ vars.n + 1 }}"}}, {id: count, call: echo}]}
  - {id: ok, approval: {question: Go?}}
  - {id: child, workflow: small}
output: ["${{ steps.each.result }}", "${{ steps.ok.result.by }}", "${{ steps.child.result }}"]
"""


async def _echo(call: ToolCall) -> dict[str, Json]:
    return complete(call.arguments)


async def _broken(call: ToolCall) -> dict[str, Json]:
    return failed("no such file")


async def _guarded(call: ToolCall) -> dict[str, Json]:
    return complete({"ok": True}) if call.input_responses else asking("Run guarded?", "state")


def composites(definitions: MemoryDefinitionStore, findings: list[dict[str, Json]]) -> Composites:
    """Return what the recorded runs run on."""
    tools = OfferedTools()
    security_tools(tools, findings, page=3)
    change_tools(tools)
    tools.add("echo", _echo)
    tools.add("broken", _broken)
    tools.add("guarded", _guarded)
    events = event_log(POSTURE_EVENTS)
    return Composites(tools, definitions, standard_actions(events, MemoryObjectStore()))


async def ended(engine: MemoryWorkflows, run: Run, *, approved: bool) -> Run:
    """Answer whatever a run asks until it has ended."""
    while (standing := await engine.get(run.id)).state not in FINAL:
        if standing.status.get(APPROVAL_STATUS):
            await engine.approve(run.id, Verdict(approved, "root", "recorded"))
        await anyio.sleep(0.01)
    return standing


@asynccontextmanager
async def _engine(findings: list[dict[str, Json]]) -> AsyncIterator[tuple[MemoryWorkflows, Composites]]:
    known = composites(MemoryDefinitionStore(), findings)
    async with MemoryWorkflows(known.workflows()) as engine:
        yield engine, known


async def record() -> None:
    """Write every history anew."""
    HISTORIES.mkdir(exist_ok=True)
    findings = [finding(number, family=f"f{number}", rule_id=f"R{number}") for number in range(7)]
    change: Json = {"path": "/repos/change"}
    night: Json = {"workspaces": ["/repos/a", "/repos/absent"]}
    async with _engine(findings) as (engine, known):
        await _keep(engine, "approved", await engine.start("secure_change", change, ADA, run_id="run_1"))
        await _keep(
            engine, "refused", await engine.start("secure_change", change, ADA, run_id="run_2"), approved=False
        )
        await _keep(engine, "first", await engine.start("nightly_posture", night, ADA, run_id="run_3"))
        await _keep(engine, "second", await engine.start("nightly_posture", night, ADA, run_id="run_4"))
        await known.define("name: small\nsteps: [{call: echo}]\noutput: 7", ADA)
        await known.define(EVERYTHING, ADA)
        start = await known.start("everything", {}, ADA)
        await _keep(engine, "everything", await engine.start(start.workflow, start.arguments, ADA, run_id="run_5"))
        proof: Json = {"path": "/repos/calc", "goal": "Return the larger of two numbers."}
        for number, (what, patch) in enumerate(
            (("proved", GOOD_PATCH), ("missed", BAD_PATCH), ("unwritten", None)), 7
        ):
            inputs = proof if patch is None else {**proof, "patch": patch}
            await _keep(engine, what, await engine.start("change_and_prove", inputs, ADA, run_id=f"run_{number}"))
    async with _engine([]) as (engine, _):
        await _keep(engine, "clean", await engine.start("secure_change", change, ADA, run_id="run_6"))


async def _keep(engine: MemoryWorkflows, what: str, run: Run, *, approved: bool = True) -> None:
    done = await ended(engine, run, approved=approved)
    if done.state != "completed":
        raise RuntimeError(f"{what}: {done.failure}")
    file = HISTORIES / f"{run.workflow}-{run.version}-{what}.json"
    file.write_text(dump_history(await engine.history(run.id)), encoding="utf-8")
    print(file.name)


if __name__ == "__main__":
    anyio.run(record)

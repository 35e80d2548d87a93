"""Definitions that run, in memory and on the durable engine, with tools that are functions."""

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from reference.hub import eventually
from reference.offered_tools import OfferedTools, asking, complete, failed
from reference.services import event_log

from quantum_suite.core.errors import Refused, Unavailable
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import APPROVAL_STATUS, Json, Owner, Run, Verdict, Workflows
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.services.workflows.tool_calls import ToolCall

pytestmark = pytest.mark.anyio
ADA = Owner("ada", ("operator",), ("/work",))
SECONDS = 50.0


@dataclass
class Bench:
    """An engine with composites on it."""

    tools: OfferedTools
    composites: Composites
    engine: Workflows

    async def start(self, text: str, inputs: dict[str, Json] | None = None) -> Run:
        """Keep a definition and start it."""
        stored, _ = await self.composites.define(textwrap.dedent(text), ADA)
        start = await self.composites.start(stored.name, inputs or {}, ADA)
        return await self.engine.start(start.workflow, start.arguments, ADA)

    async def run(self, text: str, inputs: dict[str, Json] | None = None) -> Run:
        """Start a definition and wait for its end."""
        return await self.engine.wait((await self.start(text, inputs)).id, SECONDS)

    async def asked(self, run: Run) -> dict[str, Any]:
        """Wait until a run asks people; returns what it asks."""

        async def question() -> dict[str, Any] | None:
            status = await self.engine.get(run.id)
            asked: dict[str, Any] | None = status.status.get(APPROVAL_STATUS)
            return asked

        return await eventually(question, seconds=SECONDS)


async def double(call: ActionCall) -> Json:
    return {"doubled": call.arguments["number"] * 2, "for": call.owner.principal}


@dataclass(frozen=True)
class Place:
    """Where an engine keeps its runs. Opened again, it goes on with them."""

    file: Path | None
    tools: OfferedTools = field(default_factory=OfferedTools)
    definitions: MemoryDefinitionStore = field(default_factory=MemoryDefinitionStore)
    memory: list[MemoryWorkflows] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bench]:
        """Open the engine, as a process does that starts."""
        self.tools.add("echo", _echo)
        schema = {"type": "object", "properties": {"number": {"type": "number"}}, "required": ["number"]}
        composites = Composites(self.tools, self.definitions, [Action("double", "Doubles.", schema, double)])
        if self.file is None:
            if not self.memory:
                self.memory.append(MemoryWorkflows(composites.workflows()))
            async with self.memory[0] as engine:
                yield Bench(self.tools, composites, engine)
            return
        async with open_workflows(
            self.file,
            composites.workflows(),
            events=event_log(RUN_EVENTS),
            leases=MemoryLeaseStore(),
            worker_id="worker",
        ) as durable:
            yield Bench(self.tools, composites, durable)


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An engine that was not opened yet."""
    return Place(None if request.param == "memory" else tmp_path / "runs.db")


@pytest.fixture
async def b(place: Place) -> AsyncIterator[Bench]:
    """An open engine."""
    async with place.open() as opened:
        yield opened


async def _echo(call: ToolCall) -> dict[str, Any]:
    return complete(call.arguments)


async def test_steps_run_in_order_on_behalf_of_the_owner_and_their_results_reach_later_ones(b: Bench) -> None:
    run = await b.run(
        """\
        name: x
        inputs: {path: {type: string, required: true}, floor: {type: string, default: high}}
        steps:
          - {id: first, call: echo, with: {said: "${{ inputs.path }}:${{ inputs.floor }}", list: [1]}}
          - {id: second, do: double, with: {number: "${{ len(steps.first.result.list) }}"}}
        output: {said: "${{ steps.first.result.said }}", twice: "${{ steps.second.result }}"}
        """,
        {"path": "src"},
    )
    assert (run.state, run.failure) == ("completed", None)
    assert run.result == {"said": "src:high", "twice": {"doubled": 2, "for": "ada"}}
    assert [owner for owner, _ in b.tools.calls] == ["ada"]
    assert [step.name for step in await b.engine.steps(run.id)] == ["definition", "first", "second"]


async def test_a_tool_without_structured_content_gives_its_text_and_links(b: Bench) -> None:
    async def told(call: ToolCall) -> dict[str, Any]:
        blocks = [
            {"type": "text", "text": "hello"},
            {"type": "resource_link", "uri": "quantum://a/b/c", "name": "c"},
        ]
        return {"resultType": "complete", "content": blocks}

    b.tools.add("told", told)
    run = await b.run("name: x\nsteps: [{id: a, call: told}]\noutput: ${{ steps.a.result }}")
    assert run.result == {"text": "hello", "links": [{"uri": "quantum://a/b/c", "name": "c"}]}


async def test_a_step_whose_condition_does_not_hold_is_skipped(b: Bench) -> None:
    run = await b.run(
        """\
        name: x
        inputs: {deep: {type: boolean, default: false}}
        steps:
          - {id: a, when: inputs.deep, call: echo, with: {x: 1}}
          - {id: b, when: "${{ not inputs.deep }}", call: echo, with: {x: 2}}
        output: ["${{ steps.a.state }}", "${{ steps.b.state }}", "${{ default(steps.a.result.x, 0) }}"]
        """
    )
    assert run.result == ["skipped", "completed", 0]


async def test_branches_run_at_once_and_see_nothing_of_each_other(b: Bench) -> None:
    run = await b.run(
        """\
        name: x
        steps:
          - set: {n: 1}
          - id: both
            parallel:
              one:
                - set: {n: 2}
                - {id: left, call: echo, with: {n: "${{ vars.n }}"}}
              two:
                - {id: right, call: echo, with: {n: "${{ vars.n }}"}}
          - {id: after, call: echo, with: {n: "${{ vars.n }}"}}
        output: ["${{ steps.left.result.n }}", "${{ steps.right.result.n }}", "${{ steps.after.result.n }}",
                 "${{ steps.both.result.two.right.n }}"]
        """
    )
    assert run.result == [2, 1, 1, 1]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_list_is_gone_through_in_order_whatever_runs_at_once(b: Bench, concurrency: int) -> None:
    run = await b.run(
        f"""\
        name: x
        inputs: {{items: {{type: array, required: true}}}}
        steps:
          - id: each
            for_each:
              items: ${{{{ inputs.items }}}}
              as: it
              concurrency: {concurrency}
              steps:
                - {{id: say, call: echo, with: {{it: "${{{{ it }}}}", at: "${{{{ index }}}}"}}}}
              output: ${{{{ steps.say.result }}}}
        output: ${{{{ steps.each.result }}}}
        """,
        {"items": ["a", "b", "c", "d"]},
    )
    assert run.result == [{"it": it, "at": at} for at, it in enumerate("abcd")]
    names = {step.name for step in await b.engine.steps(run.id)}
    assert names == {"definition", *(f"each[{number}].say" for number in range(4))}


async def test_a_list_longer_than_its_bound_fails_the_run(b: Bench) -> None:
    run = await b.run(
        "name: x\nsteps:\n  - id: e\n    for_each: {items: '${{ [1,2,3] }}', max: 2, steps: [{sleep: 0}]}"
    )
    assert run.failure is not None
    assert run.failure.message == "e got 3 items; 2 is the most."


async def test_until_ends_after_the_round_that_says_so(b: Bench) -> None:
    run = await b.run(
        """\
        name: x
        steps:
          - set: {n: 0}
          - id: again
            loop:
              until: steps.one.result.n >= 2
              max: 9
              steps:
                - set: {n: "${{ vars.n + 1 }}"}
                - {id: one, call: echo, with: {n: "${{ vars.n }}"}}
              output: ${{ steps.one.result.n }}
        output: ["${{ steps.again.result }}", "${{ vars.n }}"]
        """
    )
    assert run.result == [[1, 2], 2]


async def test_while_is_tested_before_the_round_and_a_loop_that_does_not_end_fails(b: Bench) -> None:
    text = """\
        name: x
        steps:
          - id: again
            loop: {while: round < 3, max: MAX, steps: [{id: a, call: echo, with: {n: "${{ round }}"}}]}
        output: ${{ steps.again.result }}
        """
    assert (await b.run(text.replace("MAX", "3"))).result == [
        {"a": {"n": 0}},
        {"a": {"n": 1}},
        {"a": {"n": 2}},
    ]
    run = await b.run(text.replace("MAX", "2"))
    assert run.failure is not None
    assert run.failure.message == "again has not come to its end in 2 rounds."


async def test_a_tool_that_fails_ends_the_run_with_its_words(b: Bench) -> None:
    b.tools.add("broken", _broken)
    run = await b.run("name: x\nsteps: [{id: a, call: broken}, {id: b, call: echo}]")
    assert run.state == "failed"
    assert run.failure is not None
    assert (run.failure.code, run.failure.message) == ("tool_failed", "broken failed: path: no such file.")
    assert b.tools.called("echo") == []


async def _broken(call: ToolCall) -> dict[str, Any]:
    return failed("path: no such file.")


async def test_a_failure_that_is_let_pass_is_seen_by_later_steps(b: Bench) -> None:
    b.tools.add("broken", _broken)
    run = await b.run(
        """\
        name: x
        steps: [{id: a, call: broken, on_error: continue}]
        output: {state: "${{ steps.a.state }}", why: "${{ steps.a.error.code }}"}
        """
    )
    assert (run.state, run.result) == ("completed", {"state": "failed", "why": "tool_failed"})


async def test_a_step_is_retried_as_told_with_one_idempotency_key(b: Bench) -> None:
    tries: list[str] = []

    async def flaky(call: ToolCall) -> dict[str, Any]:
        tries.append(call.idempotency_key)
        if len(tries) == 1:
            raise Unavailable("Away.")
        return failed("busy") if len(tries) == 2 else complete({"ok": True})

    b.tools.add("flaky", flaky)
    run = await b.run("name: x\nsteps:\n  - {call: flaky, retry: {attempts: 3, first_delay_seconds: 0}}")
    assert run.state == "completed"
    assert len(tries) == 3
    assert len(set(tries)) == 1


async def test_a_refusal_of_the_policies_is_not_retried(b: Bench) -> None:
    async def forbidden(call: ToolCall) -> dict[str, Any]:
        raise Refused("Not you.", "Ask an admin.")

    b.tools.add("forbidden", forbidden)
    run = await b.run("name: x\nsteps:\n  - {call: forbidden, retry: {attempts: 3, first_delay_seconds: 0}}")
    assert run.failure is not None
    assert (run.failure.code, run.failure.hint) == ("refused", "Ask an admin.")
    assert len(b.tools.called("forbidden")) == 1


async def test_what_was_done_is_undone_in_reverse_order_when_the_run_fails(b: Bench) -> None:
    b.tools.add("broken", _broken)
    run = await b.run(
        """\
        name: x
        steps:
          - id: a
            call: echo
            with: {made: a}
            undo: {call: echo, with: {drop: "${{ steps.a.result.made }}"}}
          - id: b
            call: echo
            with: {made: b}
            undo: {call: echo, with: {drop: "${{ steps.b.result.made }}"}}
          - {call: broken}
        """
    )
    assert run.state == "failed"
    assert [call.arguments for call in b.tools.called("echo")] == [
        {"made": "a"},
        {"made": "b"},
        {"drop": "b"},
        {"drop": "a"},
    ]


async def test_people_decide_and_the_run_goes_on_or_fails(b: Bench) -> None:
    text = """\
        name: x
        inputs: {who: {type: array, default: []}}
        steps:
          - id: ok
            approval: {question: "Ship ${{ run.workflow }}?", approvers: "${{ inputs.who }}", timeout_seconds: 60}
        output: ${{ steps.ok.result }}
        """
    run = await b.start(text, {"who": ["admin"]})
    asked = await b.asked(run)
    assert (asked["question"], asked["approvers"]) == ("Ship x?", ["admin"])
    assert asked["details"] == {"step": "ok", "about": None}
    await b.engine.approve(run.id, Verdict(True, "root", "fine"))
    ended = await b.engine.wait(run.id, SECONDS)
    assert ended.result == {"approved": True, "by": "root", "reason": "fine", "timed_out": False}

    run = await b.start(text)
    await b.asked(run)
    await b.engine.approve(run.id, Verdict(False, "root", "not today"))
    ended = await b.engine.wait(run.id, SECONDS)
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.message) == ("refused", "root did not approve: not today.")


async def test_silence_is_no_approval(b: Bench) -> None:
    text = "name: x\nsteps:\n  - {id: ok, approval: {question: Go?, timeout_seconds: 0, on_timeout: HOW}}\n"
    run = await b.run(text.replace("HOW", "fail"))
    assert run.failure is not None
    assert run.failure.message == "Nobody answered in time."
    run = await b.run(text.replace("HOW", "continue") + "output: ${{ steps.ok.result }}")
    assert (run.result["approved"], run.result["timed_out"]) == (False, True)


async def test_a_question_of_the_hub_becomes_an_approval_of_the_run_and_the_call_is_made_anew(b: Bench) -> None:
    states = iter(("sealed-1", "sealed-2"))
    rounds: list[ToolCall] = []

    async def guarded(call: ToolCall) -> dict[str, Any]:
        rounds.append(call)
        if call.input_responses is None:
            return asking("Run guarded?", next(states))
        if call.input_responses["question"]["action"] != "accept":
            raise Refused("The person asked did not approve guarded.")
        return complete({"answer": call.input_responses["question"], "state": call.request_state})

    b.tools.add("guarded", guarded)
    text = (
        "name: x\nsteps: [{id: a, call: guarded, with: {x: 1}, approvers: [admin]}]\noutput: ${{ steps.a.result }}"
    )
    run = await b.start(text)
    asked = await b.asked(run)
    assert (asked["question"], asked["approvers"]) == ("Run guarded?", ["admin"])
    assert asked["details"] == {"step": "a", "tool": "guarded", "arguments": {"x": 1}}
    await b.engine.approve(run.id, Verdict(True, "root"))
    ended = await b.engine.wait(run.id, SECONDS)
    assert ended.result == {
        "answer": {"action": "accept", "content": {"approve": True}},
        "state": "sealed-2",
    }
    assert [call.request_state for call in rounds] == [None, None, "sealed-2"]
    assert len({call.idempotency_key for call in rounds}) == 1

    states = iter(("sealed-3", "sealed-4"))
    run = await b.start(text)
    await b.asked(run)
    await b.engine.approve(run.id, Verdict(False, "root"))
    ended = await b.engine.wait(run.id, SECONDS)
    assert ended.failure is not None
    assert ended.failure.message == "The person asked did not approve guarded."


async def test_an_answer_serves_the_question_it_was_given_to_and_no_other(b: Bench) -> None:
    number = iter(range(9))

    async def shifting(call: ToolCall) -> dict[str, Any]:
        return asking(f"Delete {next(number)} files?", "state")

    b.tools.add("shifting", shifting)
    run = await b.start("name: x\nsteps: [{call: shifting}]")
    assert (await b.asked(run))["question"] == "Delete 0 files?"
    await b.engine.approve(run.id, Verdict(True, "ada"))
    assert (await b.asked(run))["question"] == "Delete 1 files?"
    await b.engine.cancel(run.id)


async def test_a_tool_that_asks_for_more_than_a_yes_fails_the_step_clearly(b: Bench) -> None:
    async def nosy(call: ToolCall) -> dict[str, Any]:
        return asking("Which one?", "state", required=("approve", "name"))

    b.tools.add("nosy", nosy)
    run = await b.run("name: x\nsteps: [{call: nosy}]")
    assert run.failure is not None
    assert run.failure.message == "nosy asks for name."


async def test_a_child_workflow_gets_inputs_and_gives_its_output(b: Bench) -> None:
    await b.composites.define(
        "name: small\ninputs: {n: {type: integer, required: true}}\n"
        "steps: [{id: a, call: echo, with: {n: '${{ inputs.n }}'}}]\noutput: ${{ steps.a.result.n + 1 }}",
        ADA,
    )
    run = await b.run("name: big\nsteps: [{id: c, workflow: small, with: {n: 4}}]\noutput: ${{ steps.c.result }}")
    assert (run.state, run.result) == ("completed", 5)
    assert run.status["stages"] == {"c": "completed"}
    run = await b.run("name: big\nsteps: [{id: c, workflow: small, with: {n: four}}]")
    assert run.failure is not None
    assert "inputs.n: This is text. Give an integer." in run.failure.message


async def test_an_expression_that_cannot_be_worked_out_fails_the_run_at_its_place(b: Bench) -> None:
    run = await b.run(
        "name: x\nsteps:\n  - {id: a, call: echo}\n  - call: echo\n    with: {b: '${{ steps.a.result.q }}'}"
    )
    assert run.failure is not None
    assert run.failure.message == "steps[1].with.b (line 5, column 15): steps.a.result has no 'q'."


async def test_values_that_double_with_every_round_are_stopped(b: Bench) -> None:
    run = await b.run(
        """\
        name: x
        steps:
          - set: {x: [lol]}
          - loop: {while: true, max: 100, steps: [{set: {x: "${{ [vars.x, vars.x, vars.x, vars.x] }}"}}]}
        """
    )
    assert run.failure is not None
    assert "becomes too large" in run.failure.message


async def test_a_run_with_too_many_steps_is_stopped(b: Bench) -> None:
    inner = "{loop: {while: true, max: 1000, on_max: continue, steps: [{set: {x: 1}}]}}"
    run = await b.run(f"name: x\nsteps:\n  - loop: {{while: true, max: 1000, steps: [{inner}]}}")
    assert run.failure is not None
    assert run.failure.message == "The run has more than 10000 steps."


async def test_a_run_goes_on_after_a_restart_without_doing_anything_twice(place: Place) -> None:
    async with place.open() as b:
        run = await b.start(
            """\
            name: x
            steps:
              - id: each
                for_each:
                  items: ${{ [1, 2, 3] }}
                  concurrency: 3
                  steps: [{call: echo, with: {n: "${{ item }}"}}]
              - {id: ok, approval: {question: Go?}}
              - {id: last, call: echo, with: {n: 9}}
            output: ${{ steps.last.result.n }}
            """
        )
        await b.asked(run)
    async with place.open() as b:
        await b.asked(run)
        await b.engine.approve(run.id, Verdict(True, "ada"))
        assert (await b.engine.wait(run.id, SECONDS)).result == 9
    assert sorted(call.arguments["n"] for call in place.tools.called("echo")) == [1, 2, 3, 9]


async def test_a_definition_that_changes_leaves_its_runs_as_they_began(b: Bench) -> None:
    run = await b.start("name: x\nsteps: [{id: ok, approval: {question: Go?}}]\noutput: old")
    await b.asked(run)
    stored, _ = await b.composites.define("name: x\nsteps: [{sleep: 0}]\noutput: new", ADA)
    assert stored.version == 2
    await b.engine.approve(run.id, Verdict(True, "ada"))
    assert (await b.engine.wait(run.id, SECONDS)).result == "old"
    assert (await b.run("name: x\nsteps: [{sleep: 0}]\noutput: new")).result == "new"

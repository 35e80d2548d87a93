"""A wrong definition is answered with every problem, each at its exact place, with what would be right."""

import textwrap

import pytest
from reference.offered_tools import OfferedTools, complete

from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.workflows.composite.checking import MOST_PROBLEMS
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.problems import InvalidDefinition
from quantum_suite.services.workflows.composite.shipped import SHIPPED, shipped_sources
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workflows.tool_calls import ToolCall
from quantum_suite.tools.orchestrator.triage_findings import TRIAGE_FINDINGS

pytestmark = pytest.mark.anyio
ADA = Owner("ada", ("operator",))
ROOT = Owner("root", ("admin",))

SCAN_SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "description": "What to scan."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "floor": {"anyOf": [{"$ref": "#/$defs/Severity"}, {"type": "null"}]},
        "paths": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    },
    "required": ["path"],
    "$defs": {"Severity": {"type": "string", "enum": ["high", "low"]}},
}
SCAN_OUTPUT = {"type": "object", "properties": {"counts": {"type": "object"}, "scan": {"type": "string"}}}


def composites() -> Composites:
    tools = OfferedTools()

    async def nothing(call: ToolCall) -> dict[str, object]:
        return complete({})

    tools.add("scan", nothing, SCAN_SCHEMA, output=SCAN_OUTPUT)
    tools.add("wipe_disk", nothing, {"type": "object", "properties": {}}, destructive=True)
    return Composites(tools, MemoryDefinitionStore(), [TRIAGE_FINDINGS], tools)


async def problems_of(text: str) -> list[str]:
    try:
        _, problems = await composites().check(textwrap.dedent(text), ADA)
    except InvalidDefinition as error:
        problems = list(error.problems)
    return [str(problem) for problem in problems]


def steps(*lines: str) -> str:
    """Return a definition whose steps begin on line 3."""
    return "name: x\nsteps:\n" + "\n".join(f"  {line}" for line in lines)


CASES = {
    "an unknown key": (
        "name: x\nstep: []\nsteps:\n  - call: scan\n    with: {path: a}",
        "step (line 2, column 1): A definition has no key 'step'. Did you mean 'steps'?",
    ),
    "a name that is none": (
        "name: No Name\nsteps: [{call: scan, with: {path: a}}]",
        "name (line 1, column 7): This must be text. Use small letters, digits and _, beginning with a letter.",
    ),
    "no steps": ("name: x", "line 1, column 1: 'steps' is missing. List at least one step."),
    "empty steps": (
        "name: x\nsteps: []",
        "steps (line 2, column 8): 'steps' must be a list that is not empty. Begin each with '- '.",
    ),
    "a list in place of a definition": (
        "- a",
        "line 1, column 1: A definition must be a mapping. "
        "Its keys are name, version, description, on, inputs, steps, output.",
    ),
    "an unknown kind of step": (
        steps("- cal: scan"),
        "steps[0].cal (line 3, column 5): 'cal' is no kind of step. Did you mean 'call'?",
    ),
    "two kinds at once": (
        steps("- call: scan", "  sleep: 3"),
        "steps[0].sleep (line 4, column 5): A step has either 'call' or 'sleep'. Make it two steps.",
    ),
    "a key that belongs to another kind": (
        steps("- sleep: 3", "  retry: {attempts: 2}"),
        "steps[0].retry (line 4, column 5): A step with 'sleep' has no key 'retry'. "
        "There is: id, on_error, sleep, title, when.",
    ),
    "an unknown tool": (
        steps("- call: scam", "  with: {path: a}"),
        "steps[0].call (line 3, column 5): There is no tool 'scam'. Did you mean 'scan'?",
    ),
    "an unknown argument": (
        steps("- call: scan", "  with: {path: a, limt: 3}"),
        "steps[0].with.limt (line 4, column 21): There is no 'limt' here. Did you mean 'limit'?",
    ),
    "a missing argument": (
        steps("- call: scan", "  with: {limit: 3}"),
        "steps[0].with (line 4, column 11): 'path' is missing. It is: What to scan.",
    ),
    "an argument of the wrong type": (
        steps("- call: scan", "  with:", "    path: 3"),
        "steps[0].with.path (line 5, column 13): This is a number. Give a string.",
    ),
    "text where a number is needed": (
        steps("- call: scan", "  with: {path: a, limit: 'x ${{ 1 }}'}"),
        "steps[0].with.limit (line 4, column 28): This is text. Give an integer.",
    ),
    "an argument out of bounds": (
        steps("- call: scan", "  with: {path: a, limit: 101}"),
        "steps[0].with.limit (line 4, column 28): This is 101. 100 is the most.",
    ),
    "a value that is none of the choices": (
        steps("- call: scan", "  with: {path: a, floor: hihg}"),
        "steps[0].with.floor (line 4, column 28): 'hihg' is none of the values there are. Give one of high, low.",
    ),
    "an item of the wrong type": (
        steps("- call: scan", "  with: {path: a, paths: [b, 3]}"),
        "steps[0].with.paths[1] (line 4, column 32): This is a number. Give a string.",
    ),
    "an unknown action": (
        steps("- do: triage_finding", "  with: {findings: []}"),
        "steps[0].do (line 3, column 5): There is no action 'triage_finding'. Did you mean 'triage_findings'?",
    ),
    "an unknown workflow": (
        steps("- workflow: secure_chang"),
        "steps[0].workflow (line 3, column 5): There is no workflow 'secure_chang'. Did you mean 'secure_change'?",
    ),
    "a workflow that starts itself": (
        steps("- workflow: x"),
        "steps[0].workflow (line 3, column 5): The workflows start each other for ever: x -> x. Use a loop.",
    ),
    "an expression that does not end": (
        steps("- call: scan", "  with: {path: '${{ inputs.a'}"),
        "steps[0].with.path (line 4, column 18): An expression that begins with ${{ does not end. End it with }}.",
    ),
    "an expression that is none": (
        steps("- sleep: ${{ 1 + }}"),
        "steps[0].sleep (line 3, column 12): '1 +' is no expression: invalid syntax.",
    ),
    "a function that is not there": (
        steps("- sleep: ${{ leng([1]) }}"),
        "steps[0].sleep (line 3, column 12): There is no function 'leng'. Did you mean 'len'?",
    ),
    "an input that is not there": (
        "name: x\ninputs:\n  path: {type: string}\nsteps:\n  - call: scan\n    with: {path: '${{ inputs.paht }}'}",
        "steps[0].with.path (line 6, column 18): There is no input 'paht'. Did you mean 'path'?",
    ),
    "an input of no type": (
        "name: x\ninputs:\n  path: {type: text}\nsteps: [{sleep: 1}]",
        "inputs.path.type (line 3, column 16): 'text' is no type. "
        "There is: array, boolean, integer, null, number, object, string.",
    ),
    "a pattern, which could take for ever": (
        "name: x\ninputs:\n  path: {type: string, pattern: '(a+)+$'}\nsteps: [{sleep: 1}]",
        "inputs.path.pattern (line 3, column 24): 'pattern' is not known here. "
        "There is: additionalProperties, description, enum, items, maxItems, maxLength, maximum, minItems, "
        "minLength, minimum, properties, required and 2 more.",
    ),
    "a default that does not fit": (
        "name: x\ninputs:\n  count: {type: integer, default: many}\nsteps: [{sleep: 1}]",
        "inputs.count.default (line 3, column 35): This is text. Give an integer.",
    ),
    "a step that is not there": (
        steps("- id: first", "  sleep: 1", "- sleep: ${{ steps.frist.result }}"),
        "steps[1].sleep (line 5, column 12): There is no step 'frist'. Did you mean 'first'?",
    ),
    "a step that runs later": (
        steps("- sleep: ${{ steps.second.result }}", "- id: second", "  sleep: 1"),
        "steps[0].sleep (line 3, column 12): The step 'second' runs later. Move it before this one.",
    ),
    "a step of another branch": (
        steps(
            "- parallel:",
            "    one: [{id: left, sleep: 1}]",
            "    two: [{sleep: '${{ steps.left.result }}'}]",
        ),
        "steps[0].parallel.two[0].sleep (line 5, column 21): The step 'left' is in another branch, and may not "
        "have run. Refer to it after the parallel step.",
    ),
    "a step inside a loop": (
        steps(
            "- id: each",
            "  for_each:",
            "    items: ${{ [1] }}",
            "    steps: [{id: inner, sleep: 1}]",
            "- sleep: ${{ steps.inner.result }}",
        ),
        "steps[1].sleep (line 7, column 12): The step 'inner' runs inside 'each'. "
        "Give 'each' an output, and read steps.each.result.",
    ),
    "a step that may have been skipped": (
        steps(
            "- id: scan",
            "  when: inputs == null",
            "  call: scan",
            "  with: {path: a}",
            "- sleep: ${{ steps.scan.result.scan }}",
        ),
        "steps[1].sleep (line 7, column 12): The step 'scan' may not have run, or may have failed. "
        "Write default(steps.scan.result.scan, something), or add when: steps.scan.state == 'completed'.",
    ),
    "a step that may have failed": (
        steps(
            "- id: scan",
            "  call: scan",
            "  with: {path: a}",
            "  on_error: continue",
            "- sleep: ${{ steps.scan.result.scan }}",
        ),
        "steps[1].sleep (line 7, column 12): The step 'scan' may not have run, or may have failed. "
        "Write default(steps.scan.result.scan, something), or add when: steps.scan.state == 'completed'.",
    ),
    "a member the tool does not return": (
        steps("- id: scan", "  call: scan", "  with: {path: a}", "- sleep: ${{ steps.scan.result.cuonts }}"),
        "steps[1].sleep (line 6, column 12): The result of 'scan' has no 'cuonts'. Did you mean 'counts'?",
    ),
    "a part that steps do not have": (
        steps("- id: scan", "  call: scan", "  with: {path: a}", "- sleep: ${{ steps.scan.output.a }}"),
        "steps[1].sleep (line 6, column 12): A step has no 'output'. steps.scan has state, result, error.",
    ),
    "an item outside its loop": (
        steps("- sleep: ${{ item }}"),
        "steps[0].sleep (line 3, column 12): There is no 'item' here. There is: inputs, run, steps, vars.",
    ),
    "a variable that nothing sets": (
        steps("- set: {cursor: 1}", "- sleep: ${{ vars.curser }}"),
        "steps[1].sleep (line 4, column 12): Nothing sets 'curser'. Did you mean 'cursor'?",
    ),
    "an id that is taken": (
        steps("- {id: a, sleep: 1}", "- {id: a, sleep: 2}"),
        "steps[1].sleep (line 4, column 13): The id 'a' is taken by steps[0].sleep (line 3). Choose another.",
    ),
    "a loop without a bound": (
        steps("- loop:", "    while: 1 == 1", "    steps: [{sleep: 1}]"),
        "steps[0].loop (line 4, column 7): 'max' is missing. Say how many rounds are the most.",
    ),
    "a loop with too high a bound": (
        steps("- loop:", "    while: 1 == 1", "    max: 100000", "    steps: [{sleep: 1}]"),
        "steps[0].loop.max (line 5, column 12): This must be a whole number. Give one from 1 to 1000.",
    ),
    "a loop with two tests": (
        steps("- loop: {while: 1 == 1, until: 1 == 1, max: 1, steps: [{sleep: 1}]}"),
        "steps[0].loop (line 3, column 11): A loop has either 'while' or 'until'. Keep one of them.",
    ),
    "an answer to silence that is none": (
        steps("- approval: {question: Go?, on_timeout: approve}"),
        "steps[0].approval.on_timeout (line 3, column 43): 'approve' is not known here. Give fail or continue.",
    ),
    "an undo that does two things": (
        steps("- call: scan", "  with: {path: a}", "  undo: {call: scan, do: triage_findings}"),
        "steps[0].undo (line 5, column 11): 'undo' has either 'call' or 'do'. Write undo: {call: <tool>}.",
    ),
    "an undo with wrong arguments": (
        steps("- call: scan", "  with: {path: a}", "  undo: {call: scan, with: {path: 1}}"),
        "steps[0].undo.with.path (line 5, column 37): This is a number. Give a string.",
    ),
    "a destructive tool without an approval": (
        steps("- call: wipe_disk"),
        "warning: steps[0].call (line 3, column 5): wipe_disk may destroy something. Put an approval before it.",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_is_wrong_is_told_at_its_place_with_what_would_be_right(case: str) -> None:
    text, expected = CASES[case]
    assert await problems_of(text) == [expected]


RIGHT = {
    "a destructive tool after an approval": steps("- approval: {question: Go?}", "- call: wipe_disk"),
    "a step that may be skipped, with a default": steps(
        "- id: scan",
        "  call: scan",
        "  with: {path: a}",
        "  on_error: continue",
        "- sleep: ${{ default(steps.scan.result.scan, 1) }}",
        "- call: scan",
        "  when: ${{ steps.scan.state == 'completed' and true }}",
        "  with: {path: '${{ steps.scan.result.scan }}'}",
    ),
    "steps of branches, after them": steps(
        "- parallel:",
        "    one: [{id: left, sleep: 1}]",
        "    two: [{id: right, sleep: 1}]",
        "- set: {both: '${{ [steps.left.state, steps.right.state] }}'}",
    ),
    "an undo that sees its own step": steps(
        "- id: scan",
        "  call: scan",
        "  with: {path: a}",
        "  undo: {call: scan, with: {path: '${{ steps.scan.result.scan }}'}}",
    ),
    "an until that sees its round": steps(
        "- loop: {until: steps.a.state == 'completed', max: 3, steps: [{id: a, sleep: 1}]}"
    ),
    "another workflow": steps("- workflow: secure_change", "  with: {path: a}"),
}


@pytest.mark.parametrize("case", RIGHT)
async def test_what_is_right_is_let_pass(case: str) -> None:
    assert await problems_of(RIGHT[case]) == []


async def test_all_problems_are_told_not_only_the_first() -> None:
    found = await problems_of(
        """\
        name: x
        inputs:
          path: {type: strin}
        steps:
          - call: scam
          - call: scan
            with: {path: "${{ input.path }}", limt: 1}
          - approvl: {question: Go?}
          - sleep: ${{ steps.later.result }}
          - id: later
            sleep: -1
        """
    )
    assert [line.partition(" (")[0] for line in found] == [
        "inputs.path.type",
        "steps[0].call",
        "steps[1].with.path",
        "steps[1].with.limt",
        "steps[2].approvl",
        "steps[3].sleep",
        "steps[4].sleep",
    ]


async def test_an_approval_that_lets_a_refusal_pass_is_no_approval_before_a_destructive_tool() -> None:
    found = await problems_of(steps("- approval: {question: Go?, on_refusal: continue}", "- call: wipe_disk"))
    assert found == [
        "warning: steps[1].call (line 4, column 5): wipe_disk may destroy something. Put an approval before it."
    ]


async def test_a_circle_through_other_definitions_is_found() -> None:
    both = composites()
    await both.define("name: a\nsteps: [{sleep: 1}]", ADA)
    await both.define("name: b\nsteps: [{workflow: a}]", ADA)
    with pytest.raises(InvalidDefinition, match="a -> b -> a"):
        await both.define("name: a\nsteps: [{workflow: b}]", ADA)


@pytest.mark.parametrize("name", SHIPPED)
async def test_the_shipped_definitions_are_right(name: str) -> None:
    version, source = shipped_sources()[name]
    assert source.startswith(f"name: {name}\nversion: {version}\n")
    known = {known.name: known for known in await composites().known(ADA)}
    assert known[name].source == source


async def test_a_definition_is_seen_by_its_owner_and_an_admins_by_everybody() -> None:
    both = composites()
    await both.define("name: mine\nsteps: [{sleep: 1}]", ADA)
    await both.define("name: ours\nsteps: [{sleep: 1}]", ROOT)
    bob = Owner("bob", ("operator",))
    assert [known.name for known in await both.known(bob)] == [*SHIPPED, "ours"]
    assert [known.name for known in await both.known(ROOT)] == [*SHIPPED, "mine", "ours"]
    for hidden in (both.find("mine", bob), both.start("mine", {}, bob), both.remove("ours", bob)):
        with pytest.raises(Exception, match="There is no definition"):
            await hidden


async def test_inputs_that_do_not_fit_are_told_one_by_one() -> None:
    with pytest.raises(Exception, match="inputs") as told:
        await composites().start("secure_change", {"paths": "src", "flor": 1, "severity_at_least": "bad"}, ADA)
    assert str(told.value) == (
        "The inputs do not fit 'secure_change'. inputs: 'path' is missing. It is: Directory or file to scan, "
        "absolute or below the workspace. inputs.paths: This is text. Give an array. inputs.flor: There is no "
        "'flor' here. There is: approvers, decide_within_seconds, path, paths, severity_at_least. "
        "inputs.severity_at_least: 'bad' is none of the values there are. "
        "Give one of critical, high, medium, low, info."
    )


async def test_a_text_full_of_mistakes_is_answered_in_bounded_time_and_length() -> None:
    many = "\n".join(f"  - {{id: step_{n}, sleep: '${{{{ steps.stp_{n}.result }}}}'}}" for n in range(900))
    found = await problems_of(f"name: x\nsteps:\n{many}")
    assert len(found) == MOST_PROBLEMS


async def test_definitions_are_listed_page_by_page() -> None:
    both = composites()
    for name in ("a", "b", "c"):
        await both.define(f"name: {name}\nsteps: [{{sleep: 1}}]", ADA)
    first, after = await both.described(ADA, limit=3)
    rest, end = await both.described(ADA, limit=3, after=after)
    assert [known.name for known, _ in (*first, *rest)] == [*SHIPPED, "a", "b", "c"]
    assert end is None


async def test_names_of_the_suite_are_not_given_away() -> None:
    with pytest.raises(Exception, match="belongs to the suite"):
        await composites().define("name: secure_change\nsteps: [{sleep: 1}]", ROOT)

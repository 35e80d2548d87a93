"""Runbooks: what is read, what is refused, and the workflow they become."""

from collections.abc import Mapping
from typing import Any

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.runbooks.compiling import compile_runbook
from quantum_suite.services.runbooks.reading import (
    SHIPPED,
    filled_in,
    input_values,
    read_runbook,
    shipped_runbook,
)
from quantum_suite.services.workflows.composite.documents import read_document
from quantum_suite.services.workflows.tool_catalogue import ToolOffer

TOOLS = {
    "ops_release": ToolOffer("ops_release", {"type": "object"}),
    "ops_health": ToolOffer("ops_health", {"type": "object"}, read_only=True),
}
STEP = "{id: a, call: ops_release}"


def compiled(text: str, inputs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    source, _ = compile_runbook(read_runbook(text, inputs or {}), "runbook_x", TOOLS)
    steps: list[dict[str, Any]] = read_document(source).plain()["steps"]
    return steps


def test_a_call_that_does_not_only_read_is_approved_right_before() -> None:
    steps = compiled(
        "runbook: r\napprovers: [admin]\nsteps: [{id: a, call: ops_health}, {id: b, call: ops_release}]"
    )
    ids = [step["id"] for step in steps]
    assert ids == ["began", "a", "a_noted", "b_approved", "b", "b_noted", "ended"]
    assert steps[3]["approval"]["approvers"] == ["admin"]
    unknown = compiled("runbook: r\nsteps: [{id: a, call: ops_unknown}]")
    assert "approval" in unknown[1]


def test_who_approves_a_call_is_shown_what_it_is_made_with() -> None:
    step = (
        "{id: a, title: 'Go to ${{ nowhere }}', call: ops_release, with: {name: '${{ inputs.release }}', "
        "fast: true, tags: [x, '${{ run.id }}'], note: " + "n" * 300 + "}}"
    )
    (_, approval, *_) = compiled(f"runbook: r\ninputs: {{release: {{type: string}}}}\nsteps: [{step}]")
    assert approval["approval"]["question"] == (
        "Go to $ {{ nowhere }}: call ops_release with name=${{ inputs.release }}, fast=true, "
        f"tags=(see the details), note={'n' * 200}...?"
    )


def test_inputs_are_shown_with_their_values() -> None:
    runbook = read_runbook(f"runbook: r\ninputs: {{a: {{default: 1}}, b: {{}}}}\nsteps: [{STEP}]", {"b": "x"})
    values = input_values(runbook, {"b": "x"})
    told = {
        "one": ["${{ inputs.a }}", {"two": "${{inputs.b}}"}],
        "other": "${{ steps.a.result }}, ${{ inputs.b }}",
    }
    assert filled_in(told, values) == {"one": [1, {"two": "x"}], "other": told["other"]}


def test_what_is_verified_is_asked_at_once_and_then_at_intervals() -> None:
    text = (
        "runbook: r\nsteps: [{id: a, verify: {call: ops_health, "
        "holds: result.a > 0 and result.result == 'result', within_seconds: 60, every_seconds: 20}}]"
    )
    loop = compiled(text)[1]["loop"]
    assert loop["until"] == "${{ steps.a_check.result.a > 0 and steps.a_check.result.result == 'result' }}"
    assert (loop["max"], loop["on_max"]) == (4, "fail")
    assert loop["steps"][0] == {"when": "${{ round > 0 }}", "sleep": 20.0}


def test_a_run_that_fails_says_so_last() -> None:
    began = compiled(f"runbook: r\nsteps: [{STEP}]")[0]
    assert "failed or cancelled" in began["undo"]["with"]["outcome"]


def test_inputs_name_tools_and_an_undo_that_was_not_given_is_none() -> None:
    text = shipped_runbook("rollback_deployment")
    given = {"tool": "ops_release", "arguments": {"name": "40"}, "bad_while": "x", "within_seconds": 30}
    runbook = read_runbook(text, given)
    (step,) = runbook.steps
    assert step.call is not None
    assert (step.call.tool, step.call.arguments, step.undo) == ("ops_release", {"name": "40"}, None)
    assert step.verify is not None
    assert (step.verify.within_seconds, step.verify.every_seconds) == (30, 15)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_describes_every_input(name: str) -> None:
    text = shipped_runbook(name)
    runbook = read_runbook(text, {"tool": "t", "arguments": {}})
    assert runbook.name == name
    assert all(one["description"] for one in runbook.inputs.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "no mapping"),
        (f"runbook: R\nsteps: [{STEP}]", "runbook is no name"),
        ("runbook: r\nsteps: []", "no list of 1 to 50"),
        (f"runbook: r\nsteps: [{STEP}, {STEP}]", "same id"),
        ("runbook: r\nsteps: [{id: a}]", "does nothing"),
        ("runbook: r\nsteps: [{id: a, cal: x}]", "Did you mean 'call'?"),
        ("runbook: r\nsteps: [{id: a, call: 5}]", "names no tool"),
        ("runbook: r\nsteps: [{id: a, call: t, with: 5}]", "no mapping"),
        ("runbook: r\nsteps: [{id: a, verify: {call: t}}]", "holds is no expression"),
        ("runbook: r\nsteps: [{id: a, verify: {call: t, holds: x, within_seconds: 1e9}}]", "no number of seconds"),
        ("runbook: r\nsteps: [{id: a, verify: {call: t, holds: x, every_seconds: 0.1}}]", "more than 1000 times"),
        ("runbook: r\nsteps: [{id: a, verify: {call: t, holds: x}, undo: {call: t}}]", "takes back nothing"),
        (f"runbook: r\ninputs: [a]\nsteps: [{STEP}]", "inputs is no mapping"),
        (f"runbook: r\napprovers: admin\nsteps: [{STEP}]", "approvers is no list"),
        (f"runbook: &a r\nsteps: [{STEP}]", "Anchors"),
    ],
)
def test_a_wrong_runbook_is_refused_at_its_place(text: str, said: str) -> None:
    with pytest.raises(CallerError, match=said.replace("?", r"\?")):
        read_runbook(text, {})


def test_what_is_not_shipped_is_named_with_what_is() -> None:
    with pytest.raises(CallerError, match="Did you mean 'rollback_deployment'"):
        shipped_runbook("rollback_deploymnt")
    with pytest.raises(CallerError):
        shipped_runbook("../reading")

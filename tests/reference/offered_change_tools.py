"""QAgent's tools as functions, for workflows: what they answer has the shape of what the real ones do."""

from typing import Any

from reference.offered_tools import OfferedTools, complete, failed

from quantum_suite.services.workflows.tool_calls import ToolCall

GOOD_PATCH = "--- a/calc.py\n+++ b/calc.py\n"
BAD_PATCH = "bad"
GATES = ("applies", "syntax", "lint", "security", "tests", "mutation")


def change_tools(tools: OfferedTools, *, model: str | None = None, writes: str | None = GOOD_PATCH) -> None:
    """Offer what change_and_prove calls. `model` is configured where it is named, and writes `writes`."""

    async def plan(call: ToolCall) -> dict[str, Any]:
        if "absent" in str(call.arguments["path"]):
            return failed("path: /absent is not in a workspace.")
        return complete(_plan(str(call.arguments["path"])))

    async def generate(call: ToolCall) -> dict[str, Any]:
        change = None
        if model is not None:
            change = {**judged(writes or "", "model"), "model": model, "diff": writes or ""}
        return complete(
            {
                "author": "assistant" if model is None else "model",
                "message": "",
                "plan": _plan(str(call.arguments["path"])),
                "change": change,
                "tokens": 0 if model is None else 321,
                "prompt": None,
            }
        )

    async def submit(call: ToolCall) -> dict[str, Any]:
        return complete(judged(str(call.arguments["patch"]), "assistant"))

    tools.add("qagent_plan_change", plan)
    tools.add("qagent_generate_code", generate)
    tools.add("qagent_submit_change", submit)


def judged(patch: str, author: str) -> dict[str, Any]:
    """Return the verdict on a patch: BAD_PATCH is refused by the mutation gate, any other is accepted."""
    refused = patch == BAD_PATCH
    problem = {
        "code": "mutant-survived",
        "message": "With 'a >= b' for 'a > b' every test still passes (mutant 0a1b)",
        "location": {"path": "calc.py", "region": {"start_line": 6, "end_line": 6}},
        "blocking": True,
        "introduced": True,
        "suggestion": "a test that fails with it",
    }
    gates = [
        {
            "gate": gate,
            "outcome": "failed" if refused and gate == "mutation" else "passed",
            "summary": "It is | as it should be.",
            "seconds": 0.25,
        }
        for gate in GATES
    ]
    return {
        "change": "run_0a1b",
        "accepted": not refused,
        "author": author,
        "model": None,
        "reason": "Refused at the gate 'mutation': missed." if refused else "Accepted: it passed them all.",
        "next_step": "Mend at calc.py:6." if refused else "Call apply_change.",
        "gates": gates,
        "problems": [problem] if refused else [],
        "more_problems": 2 if refused else 0,
        "not_assessed": ["types: no checker. Install it with: pip install mypy"],
        "isolation": "bubblewrap",
        "files": ["calc.py"],
        "report": "quantum://qagent/changes/run_0a1b",
        "diff": None,
    }


def _plan(path: str) -> dict[str, Any]:
    return {
        "plan": "run_plan",
        "root": path,
        "tokens": 10,
        "symbols": [],
        "tests": ["tests/test_calc.py"],
        "risks": ["calc.py is used everywhere."],
        "acceptance_checks": [],
        "rules": [],
        "caveats": [],
        "context": "quantum://qagent/changes/run_plan/context",
    }

"""Reads a runbook's YAML, with what the caller gave for its inputs."""

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from quantum_suite.core.errors import CallerError
from quantum_suite.services.runbooks.model import Runbook, RunbookStep, ToolUse, Verification
from quantum_suite.services.workflows.composite.documents import read_document
from quantum_suite.services.workflows.composite.problems import InvalidDefinition, near

SHIPPED: Sequence[str] = ("restart_and_verify", "rollback_deployment")
MOST_STEPS = 50
LONGEST_WAIT_SECONDS = 6 * 3600.0

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_INPUT = re.compile(r"\$\{\{\s*inputs\.([a-z][a-z0-9_]*)\s*\}\}")
_TOP = frozenset({"runbook", "description", "inputs", "approvers", "steps"})
_STEP = frozenset({"id", "title", "call", "with", "verify", "undo", "deadline_seconds"})
_VERIFY = frozenset({"call", "with", "holds", "within_seconds", "every_seconds"})


def shipped_runbook(name: str) -> str:
    """Return the text of a runbook that comes with the suite; raises CallerError naming those there are."""
    if name not in SHIPPED:
        raise CallerError(
            f"There is no runbook '{name[:60]}'.",
            f"{near(name, SHIPPED)} A file is named by its path.",
            argument="runbook",
        )
    return (resources.files(__package__) / "shipped" / f"{name}.yaml").read_text(encoding="utf-8")


def read_runbook(text: str, given: Mapping[str, Any]) -> Runbook:
    """Return a runbook; raises CallerError with the place of what is wrong.

    Names of tools, and whole arguments, may be inputs (`call: ${{ inputs.tool }}`): they are put in here, so that
    the plan shows what would really be called. All else that is in `${{ }}` is worked out as the run goes.
    """
    try:
        told = read_document(text).plain()
    except InvalidDefinition as error:
        raise _wrong(str(error.problems[0])) from error
    _check_keys(told, _TOP, "the runbook")
    name, steps = told.get("runbook"), told.get("steps")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong("runbook is no name.", "Write small letters, digits and _, at most 40.")
    if not isinstance(steps, list) or not 0 < len(steps) <= MOST_STEPS:
        raise _wrong(f"steps is no list of 1 to {MOST_STEPS} steps.")
    inputs, approvers = told.get("inputs") or {}, told.get("approvers") or []
    if not isinstance(inputs, dict) or not all(isinstance(one, dict) for one in inputs.values()):
        raise _wrong("inputs is no mapping of names to what they are.")
    if not isinstance(approvers, list) or not all(isinstance(one, str) for one in approvers):
        raise _wrong("approvers is no list of roles or principals.")
    values = {key: given.get(key, one.get("default")) for key, one in inputs.items()}
    read = [_step(one, f"steps[{index}]", values) for index, one in enumerate(steps)]
    if len({one.id for one in read}) < len(read):
        raise _wrong("Two steps have the same id.")
    return Runbook(name, str(told.get("description") or ""), inputs, approvers, read)


def input_values(runbook: Runbook, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a runbook's inputs: what was given, else the defaults."""
    return {key: given.get(key, one.get("default")) for key, one in runbook.inputs.items()}


def filled_in(told: Any, values: Mapping[str, Any]) -> Any:
    """Return arguments with what is an input and nothing else replaced by its value, to be shown to people."""
    if isinstance(told, dict):
        return {key: filled_in(one, values) for key, one in told.items()}
    if isinstance(told, list):
        return [filled_in(one, values) for one in told]
    found = _INPUT.fullmatch(told.strip()) if isinstance(told, str) else None
    return values[found[1]] if found is not None and found[1] in values else told


def _step(told: Any, place: str, values: Mapping[str, Any]) -> RunbookStep:
    _check_keys(told, _STEP, place)
    name = told.get("id")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(f"{place}.id is no name.", "Write small letters, digits and _, at most 40.")
    call = _use(told, place, values) if "call" in told else None
    verify = _verify(told["verify"], f"{place}.verify", values) if "verify" in told else None
    if call is None and verify is None:
        raise _wrong(f"{place} does nothing.", "Give it a call, something to verify, or both.")
    undo = None
    if told.get("undo") is not None:
        if call is None:
            raise _wrong(f"{place}.undo takes back nothing: the step calls nothing.")
        _check_keys(told["undo"], {"call", "with"}, f"{place}.undo")
        undo = _use(told["undo"], f"{place}.undo", values, optional=True)
    title = str(told.get("title") or name)[:200]
    deadline = _seconds(told, "deadline_seconds", None, place)
    return RunbookStep(name, title, call, verify, undo, deadline)


def _verify(told: Any, place: str, values: Mapping[str, Any]) -> Verification:
    _check_keys(told, _VERIFY, place)
    holds = told.get("holds")
    if not isinstance(holds, str) or not holds.strip():
        raise _wrong(f"{place}.holds is no expression.", "Write one over result, e.g. result.series == 0.")
    use = _use(told, place, values)
    assert use is not None
    within = _seconds(told, "within_seconds", 300.0, place, values)
    every = _seconds(told, "every_seconds", 15.0, place, values)
    assert within is not None
    assert every is not None
    if within / every > 1000:
        raise _wrong(f"{place} would ask more than 1000 times.", "Ask less often.")
    return Verification(use, holds.strip(), within, every)


def _use(
    told: Mapping[str, Any], place: str, values: Mapping[str, Any], *, optional: bool = False
) -> ToolUse | None:
    tool, argument = _put_in(told.get("call"), values)
    if tool is None and optional:
        return None
    if not isinstance(tool, str) or not tool:
        raise _wrong(f"{place}.call names no tool.", "Give one by its public name.", argument=argument)
    arguments, argument = _put_in(told.get("with"), values)
    if not isinstance(arguments, dict | None):
        raise _wrong(f"{place}.with is no mapping.", argument=argument)
    return ToolUse(tool, arguments or {})


def _put_in(told: Any, values: Mapping[str, Any]) -> tuple[Any, str]:
    """Return what was given where a value is an input and nothing else, and the argument to blame for it."""
    found = _INPUT.fullmatch(told.strip()) if isinstance(told, str) else None
    if found is None or found[1] not in values:
        return told, "runbook"
    value = values[found[1]]
    if "${{" in repr(value):
        raise CallerError(f"inputs.{found[1]} holds an expression.", "Give plain values.", argument="inputs")
    return value, "inputs"


def _seconds(
    told: Mapping[str, Any], key: str, default: float | None, place: str, values: Mapping[str, Any] | None = None
) -> float | None:
    value, argument = _put_in(told.get(key, default), values or {})
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_WAIT_SECONDS:
        raise _wrong(
            f"{place}.{key} is no number of seconds.", f"At most {LONGEST_WAIT_SECONDS:g}.", argument=argument
        )
    return float(value)


def _check_keys(told: Any, known: frozenset[str] | set[str], place: str) -> None:
    if not isinstance(told, dict):
        raise _wrong(f"{place} is no mapping.")
    for key in told:
        if key not in known:
            raise _wrong(f"{place} has '{key[:60]}', which is no part of it.", near(key, known))


def _wrong(message: str, hint: str | None = None, *, argument: str = "runbook") -> CallerError:
    return CallerError(message, hint, argument=argument)

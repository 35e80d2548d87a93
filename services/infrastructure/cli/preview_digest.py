"""Reads what `pulumi preview --json` prints (PreviewDigest, pkg/display/json.go in pulumi/pulumi) as a plan."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from quantum_suite.services.infrastructure.interface import ResourceState
from quantum_suite.services.infrastructure.plan import (
    SECRET,
    UNKNOWN,
    Drift,
    Operation,
    Plan,
    PlanKind,
    PlannedStep,
    Problem,
    PropertyChange,
    ReplacementReason,
)
from quantum_suite.services.infrastructure.state.format import dependents, resource_from_json
from quantum_suite.services.infrastructure.values import absent, differing_paths, is_secret, shown

_OPERATIONS: Final[Mapping[str, Operation]] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "same": "same",
    "read": "read",
    "import": "import",
    "refresh": "refresh",
    "replace": "replace",
}
"""`create-replacement`, `delete-replaced` and their kin are the halves of a `replace`, which is told as one."""


def plan_of(digest: Mapping[str, Any], kind: PlanKind, project: str, stack: str, **fields: Any) -> Plan:
    """Return the plan a preview digest tells; `fields` are what it does not know, but for the plan's digest."""
    steps, drift = [], []
    resources = [
        resource_from_json(state)
        for step in digest.get("steps") or ()
        if (state := step.get("newState") or step.get("oldState"))
    ]
    for step in digest.get("steps") or ():
        operation = _OPERATIONS.get(step["op"])
        if operation is None:
            continue
        planned = _step(step, operation, resources)
        steps.append(planned)
        if operation == "refresh" and planned.changes:
            drift.append(
                Drift(
                    urn=planned.urn, type=planned.type, name=planned.name, kind="changed", changes=planned.changes
                )
            )
    diagnostics: Sequence[Mapping[str, Any]] = digest.get("diagnostics") or ()
    return Plan(
        kind=kind,
        project=project,
        stack=stack,
        config=digest.get("config") or {},
        steps=tuple(steps),
        drift=tuple(drift),
        problems=tuple(
            Problem(code="program", message=str(one.get("message", "")).strip(), urn=one.get("urn", ""))
            for one in diagnostics
            if one.get("severity") == "error"
        ),
        messages=tuple(
            str(one.get("message", "")).strip() for one in diagnostics if one.get("severity") != "error"
        ),
        **fields,
    )


def _step(step: Mapping[str, Any], operation: Operation, resources: Sequence[ResourceState]) -> PlannedStep:
    old = resource_from_json(step["oldState"]) if step.get("oldState") else None
    new = resource_from_json(step["newState"]) if step.get("newState") else None
    now = new or old
    assert now is not None
    replacing = [str(key) for key in step.get("replaceReasons") or ()]
    return PlannedStep(
        urn=step["urn"],
        type=now.type,
        name=now.name,
        operation=operation,
        custom=now.custom,
        id=old.id if old is not None else "",
        provider=str(step.get("provider") or now.provider).rpartition("::")[0],
        parent=now.parent,
        dependencies=tuple(sorted(now.dependencies)),
        inputs={} if operation == "delete" else shown(now.inputs, SECRET, UNKNOWN),
        changes=_changes(old, new, operation, replacing),
        replacement_reasons=tuple(
            ReplacementReason(key=key, why="its provider cannot change it in place") for key in replacing
        ),
        protected=now.protect,
        retained=now.retain_on_delete,
        blast_radius=()
        if operation in ("same", "read", "create")
        else tuple(sorted(dependents({step["urn"]}, resources))),
    )


def _changes(
    old: ResourceState | None, new: ResourceState | None, operation: Operation, replacing: Sequence[str]
) -> tuple[PropertyChange, ...]:
    if old is None or new is None:
        return ()
    # A refresh compares what was read, everything else what was asked for.
    before, after = (old.outputs, new.outputs) if operation == "refresh" else (old.inputs, new.inputs)
    return tuple(
        PropertyChange(
            path=path,
            kind="add" if absent(was) else "delete" if absent(now) else "update",
            old=None if absent(was) else SECRET if is_secret(was) else shown(was, SECRET, UNKNOWN),
            new=None if absent(now) else SECRET if is_secret(now) else shown(now, SECRET, UNKNOWN),
            forces_replacement=path.split(".")[0].split("[")[0] in replacing,
        )
        for path, was, now in differing_paths(before, after)
        if not path.startswith("__")
    )

"""Who may do what: Cedar decisions, remembered."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import cedarpy

from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.access.policy_files import Policies, load_policies
from quantum_suite.hub.target import Kind, Target

logger = logging.getLogger(__name__)

Action = Literal["use", "call", "get", "read", "callWithoutApproval"]
"""`use` is of the hub itself; the rest is of a target. What each means is said in the schema of the policies."""

ACTION_OF: dict[Kind, Action] = {"tool": "call", "prompt": "get", "resource": "read"}
"""The action that needs to be permitted for a target to be used, and to be seen."""

_TYPE_OF: dict[Kind, str] = {"tool": "Tool", "prompt": "Prompt", "resource": "Resource"}
_RANK = {role: rank for rank, role in enumerate(Role)}


class Authoriser:
    """Decides by the policies in force.

    A decision is made by Cedar once and then looked up until the policies are read again or `max_decisions` newer
    ones pushed it out. Whatever no policy permits is denied; so is everything while a policy fails to evaluate.
    """

    def __init__(self, operator_dir: Path | None = None, *, max_decisions: int = 32_768) -> None:
        """Read the shipped policies and those in `operator_dir`; raises ConfigurationError when one is wrong."""
        self._operator_dir = operator_dir
        self._max_decisions = max_decisions
        self._policies: Policies = load_policies(operator_dir)
        self._decisions: OrderedDict[tuple[Any, ...], bool] = OrderedDict()

    @property
    def sources(self) -> tuple[str, ...]:
        """The files the policies in force came from."""
        return self._policies.sources

    def reload(self) -> None:
        """Read the policies again; raises ConfigurationError, and keeps those in force, when one is wrong."""
        self._policies = load_policies(self._operator_dir)
        self._decisions.clear()

    def allows(self, principal: Principal, action: Action, target: Target | None) -> bool:
        """Whether `principal` may do `action` to `target`; `use` takes no target, all others need one."""
        # The target itself is no key: its schema makes it unhashable, and nothing here depends on it.
        key = (
            principal.id,
            principal.roles,
            action,
            None
            if target is None
            else (
                target.kind,
                target.name,
                target.upstream,
                target.read_only,
                target.destructive,
                target.idempotent,
            ),
        )
        known = self._decisions.get(key)
        if known is not None:
            self._decisions.move_to_end(key)
            return known
        allowed = self._decide(principal, action, target)
        self._decisions[key] = allowed
        if len(self._decisions) > self._max_decisions:
            self._decisions.popitem(last=False)
        return allowed

    def sees(self, principal: Principal, target: Target) -> bool:
        """Whether `principal` may use `target`, and so may find it in lists."""
        return self.allows(principal, ACTION_OF[target.kind], target)

    def visible(self, principal: Principal, targets: Iterable[Target]) -> list[Target]:
        """Return those of `targets` that `principal` may use, in the order given."""
        return [target for target in targets if self.sees(principal, target)]

    def _decide(self, principal: Principal, action: Action, target: Target | None) -> bool:
        who = _uid("Principal", principal.id)
        what = _uid("Hub", "hub") if target is None else _uid(_TYPE_OF[target.kind], target.name)
        entities = [{"uid": who, "attrs": {}, "parents": [_uid("Role", r) for r in _roles(principal)]}]
        if target is not None:
            entities.append(_entity(what, target))
        try:
            result = cedarpy.is_authorized(
                {"principal": who, "action": _uid("Action", action), "resource": what, "context": {}},
                self._policies.policy_set,
                json.dumps(entities),
                self._policies.schema,
            )
        except ValueError as error:
            problems = [str(error)]
        else:
            if result.decision is not cedarpy.Decision.NoDecision and not result.diagnostics.errors:
                return result.allowed
            problems = result.diagnostics.errors
        # Cedar skips a policy that fails to evaluate: were it a `forbid`, the call would slip through.
        logger.error("Denied %s to %s: a policy fails to evaluate: %s", action, principal.id, "; ".join(problems))
        return False


def _roles(principal: Principal) -> list[str]:
    """The principal's roles and every lesser one."""
    highest = max((_RANK[role] for role in principal.roles), default=-1)
    return [role.value for role, rank in _RANK.items() if rank <= highest]


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": f"Quantum::{kind}", "id": name}


def _entity(uid: dict[str, str], target: Target) -> dict[str, Any]:
    attributes: dict[str, Any]
    if target.kind == "tool":
        attributes = {
            "name": target.name,
            "read_only": target.read_only,
            "destructive": target.destructive,
            "idempotent": target.idempotent,
        }
    elif target.kind == "prompt":
        attributes = {"name": target.name}
    else:
        attributes = {"uri": target.name}
    return {"uid": uid, "attrs": attributes, "parents": [_uid("Server", target.upstream)]}

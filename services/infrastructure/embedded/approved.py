"""Holds a run to the plan that was approved."""

from collections.abc import Mapping
from typing import Any, Final

from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.interface import ResourceState
from quantum_suite.services.infrastructure.plan import Operation, PlannedStep
from quantum_suite.services.infrastructure.values import matches_planned, plain

_WITHIN: Final[Mapping[str, frozenset[str]]] = {
    # What is planned may turn out to be less, once what was unknown is known; never more.
    "create": frozenset({"create"}),
    "update": frozenset({"update", "same"}),
    "replace": frozenset({"replace", "update", "same", "create"}),
    "import": frozenset({"import"}),
    "delete": frozenset({"delete"}),
    "same": frozenset({"same"}),
    "read": frozenset({"read"}),
    "refresh": frozenset({"refresh"}),
}


class Approved:
    """The steps that may be done, by what identifies them, with their inputs."""

    def __init__(self, steps: Mapping[str, PlannedStep], inputs: Mapping[str, Mapping[str, Any]]) -> None:
        self._steps = steps
        self._inputs = inputs
        self.changing = [
            key for key, step in steps.items() if step.custom and step.operation not in ("same", "read")
        ]

    def check(self, operation: Operation, new: ResourceState, key: str = "") -> None:
        """Raise ProviderFailed unless the plan says so."""
        planned = self._steps.get(key or new.urn)
        if planned is None:
            raise ProviderFailed(
                f"The approved plan does not have {new.name} ({new.type}); this run would {operation} it. "
                "Preview again."
            )
        if operation not in _WITHIN[planned.operation]:
            raise ProviderFailed(
                f"The approved plan says to {planned.operation} {new.name}; this run would {operation} it. "
                "Preview again."
            )
        if operation in ("create", "update", "replace", "import"):
            wanted, actual = (_visible(values) for values in (self._inputs[key or new.urn], new.inputs))
            if not matches_planned(wanted, actual):
                raise ProviderFailed(
                    f"The properties of {new.name} are not those of the approved plan. Preview again."
                )


def _visible(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs without what providers keep to themselves."""
    return {key: value for key, value in plain(inputs).items() if not key.startswith("__")}

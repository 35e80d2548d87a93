"""Whose excess it is: what a node adds itself, beyond what its dependencies hand on to it.

Latency and errors add up along calls. A node's excess, times the requests it serves, is time (or failures) in the
system; what its dependencies account for is not its own doing. So a cause is a node whose excess its dependencies
do not explain, and that is large enough to explain what is complained of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from quantum_suite.services.root_cause.interface import Kind
from quantum_suite.services.root_cause.shifts import Shift
from quantum_suite.services.root_cause.topology import Topology

SIGNIFICANT = 3.0
"""Scales a signal has to move before it counts at all."""

ADDITIVE: frozenset[Kind] = frozenset({"latency", "errors"})
"""The kinds that add up along calls."""


@dataclass(frozen=True, slots=True)
class Account:
    """One node's part in one kind of trouble."""

    total: float
    """Its excess times its load."""
    own: float
    """The share of `total` its dependencies do not explain, 0 to 1."""
    explains: float
    """How much of the complaint it could explain, 0 to 1; 1 where that cannot be said."""
    blamed: tuple[str, ...]
    """The dependencies that explain the rest, the largest first."""


def accounts(
    shifts: Mapping[str, Shift], loads: Mapping[str, float], topology: Topology, complaint: str
) -> dict[str, Account]:
    """Return the accounts of the nodes that got worse, by node. `shifts` are all of one kind, by node.

    `loads` are requests in the same unit for all; a node without one is taken to have the median load.
    """
    usual = median(loads.values()) if loads else 1.0
    totals = {
        node: _total(shift, loads.get(node, usual))
        for node, shift in shifts.items()
        if shift.strength >= SIGNIFICANT
    }
    totals = {node: total for node, total in totals.items() if total > 0}
    measured = frozenset(shifts)
    complained = totals.get(complaint) or _noticed(shifts.get(complaint), loads.get(complaint, usual))
    additive = next(iter(shifts.values())).signal.kind in ADDITIVE if shifts else False
    found = {}
    for node, total in totals.items():
        parts = {
            callee: totals[callee] for callee in topology.measured_dependencies(node, measured) if callee in totals
        }
        explained = min(1.0, sum(parts.values()) / total) if additive else float(bool(parts))
        explains = min(1.0, total / complained) if complained else 1.0
        blamed = tuple(sorted(parts, key=lambda callee: -parts[callee]))
        found[node] = Account(total, 1.0 - explained, explains, blamed)
    return found


def _total(shift: Shift, load: float) -> float:
    return shift.excess * load if shift.signal.kind in ADDITIVE else shift.excess


def _noticed(shift: Shift | None, load: float) -> float | None:
    """Return how large a total would have to be for the complaining node to show it."""
    if shift is None or shift.signal.kind == "saturation":
        return None
    return SIGNIFICANT * shift.scale * (load if shift.signal.kind in ADDITIVE else 1.0)

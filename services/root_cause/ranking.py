"""The ranking: from signals, topology and changes to suspects with evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantum_suite.services.root_cause import verdicts, wording
from quantum_suite.services.root_cause.accounting import Account, accounts
from quantum_suite.services.root_cause.interface import (
    KINDS,
    Change,
    Complaint,
    Diagnosis,
    Evidence,
    Kind,
    Signal,
    Suspect,
)
from quantum_suite.services.root_cause.shifts import Shift, is_missing, measure, slots, surprise
from quantum_suite.services.root_cause.topology import Topology


@dataclass(frozen=True, slots=True)
class Weights:
    """The few numbers of the method, chosen on one half of a benchmark's cases."""

    half_strength: float = 6.0
    """Scales at which a shift counts half."""
    other_kind: float = 0.4
    """How much trouble of another kind than the complaint's counts."""
    elsewhere: float = 0.3
    """How much a node counts that the complaining one does not depend on."""
    late: float = 0.6
    """How much a node counts that went wrong later than the complaining one."""
    least_own: float = 0.1
    """How much a node counts whose dependencies explain all of its trouble."""
    missing: float = 0.45
    """The score of a dependency whose measurements ended with the onset."""
    change: float = 0.5
    """How far a change right before the onset moves a score towards 1."""
    change_alone: float = 0.2
    """The score of a dependency that was changed right before the onset and shows nothing."""
    half_life_seconds: float = 1800.0
    """The age at which a change counts half."""


DEFAULT = Weights()
LOOKBACK_SECONDS = 6 * 3600.0
"""Changes older than this, at the onset, are not looked at."""

_LEAST_SCORE = 0.02


def diagnose(
    complaint: Complaint,
    signals: Sequence[Signal],
    topology: Topology,
    changes: Sequence[Change] = (),
    weights: Weights = DEFAULT,
) -> Diagnosis:
    """Rank what may be the cause of a complaint. Pure, and the same for the same input.

    Cost: linear in the points, and nodes times edges for the topology.
    """
    shifts = _shifts(complaint, signals)
    target = shifts[complaint.kind].get(complaint.node)
    near = recent_changes(changes, complaint)
    if target is None:
        reason = verdicts.unmeasured(complaint)
        return Diagnosis("not enough data", reason, (), tuple(near), tuple(wording.gaps(signals, shifts)))
    board = _Board(complaint, target, topology, weights)
    loads = {node: shift.during for node, shift in shifts["traffic"].items() if shift.during > 0}
    for kind in KINDS:
        board.blame(kind, accounts(shifts[kind], loads, topology, complaint.node), shifts[kind])
    board.missing(signals)
    board.changed(near)
    by_chance = surprise(target.signal, target, complaint.onset, complaint.step)
    verdict, reason, told = verdicts.verdict(
        board.suspects(), complaint, target, by_chance, connected=bool(topology.edges)
    )
    return Diagnosis(verdict, reason, told, tuple(near), tuple(wording.gaps(signals, shifts)))


def recent_changes(changes: Sequence[Change], complaint: Complaint) -> list[Change]:
    """Return the changes that may have led to a complaint, the nearest to its onset first."""
    end = complaint.onset + complaint.step
    found = [one for one in changes if complaint.onset - LOOKBACK_SECONDS <= one.at <= end]
    return sorted(found, key=lambda one: (-one.at, one.what))


def _shifts(complaint: Complaint, signals: Sequence[Signal]) -> dict[Kind, dict[str, Shift]]:
    """Return the strongest shift of each node by kind, measured when the complaint was worst."""
    moments: Mapping[float, float] | None = None
    for signal in signals:
        if (signal.node, signal.kind) == (complaint.node, complaint.kind):
            shift = measure(signal, complaint.onset, complaint.step)
            if shift is not None:
                moments = slots(signal, shift, complaint.onset, complaint.step)
                break
    found: dict[Kind, dict[str, Shift]] = {kind: {} for kind in KINDS}
    for signal in signals:
        shift = measure(signal, complaint.onset, complaint.step, moments)
        known = found[signal.kind].get(signal.node)
        if shift is not None and (known is None or shift.strength > known.strength):
            found[signal.kind][signal.node] = shift
    return found


class _Board:
    """Scores and evidence by node, as they are gathered."""

    def __init__(self, complaint: Complaint, target: Shift, topology: Topology, weights: Weights) -> None:
        self._complaint = complaint
        self._target = target
        self._topology = topology
        self._weights = weights
        self._distances = topology.distances(complaint.node)
        self._innocence: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._evidence: dict[str, list[Evidence]] = {}

    def blame(self, kind: Kind, found: Mapping[str, Account], shifts: Mapping[str, Shift]) -> None:
        """Count what nodes add themselves to one kind of trouble."""
        of_kind = 1.0 if kind == self._complaint.kind else self._weights.other_kind
        for node, account in found.items():
            shift = shifts[node]
            weights = self._weights
            strength = shift.strength / (shift.strength + weights.half_strength)
            own = weights.least_own + (1 - weights.least_own) * account.own
            share = account.explains**0.5
            score = strength * own * share * of_kind * self._reach(node) * self._order(shift)
            self._count(node, score, wording.shifted(shift, account, self._complaint), shift.since)

    def missing(self, signals: Sequence[Signal]) -> None:
        """Count dependencies that fell silent: all their signals, with the onset."""
        by_node: dict[str, list[Signal]] = {}
        for signal in signals:
            by_node.setdefault(signal.node, []).append(signal)
        onset, step = self._complaint.onset, self._complaint.step
        for node, of_node in by_node.items():
            if node not in self._distances or node == self._complaint.node:
                continue
            if all(is_missing(signal, onset, step) for signal in of_node):
                self._count(node, self._weights.missing, wording.silent(node), self._complaint.onset)

    def changed(self, changes: Sequence[Change]) -> None:
        """Count changes: they strengthen who is suspected, and make dependencies suspects."""
        weights = self._weights
        for change in changes:
            if change.node is None:
                continue
            age = max(0.0, self._complaint.onset - change.at)
            recency = 0.5 ** (age / weights.half_life_seconds)
            if change.node in self._innocence:
                score = weights.change * recency * (1 - self._innocence[change.node])
            elif change.node in self._distances:
                score = weights.change_alone * recency
            else:
                continue
            self._count(change.node, score, wording.changed(change, self._complaint), None)

    def suspects(self) -> list[Suspect]:
        """Return the suspects without their confidence, best first; ties by nearness, then name."""
        found = []
        for node, innocence in self._innocence.items():
            score = 1 - innocence
            if score >= _LEAST_SCORE:
                told = tuple(sorted(self._evidence[node], key=lambda one: -one.weight))
                path = wording.path(self._topology.path(self._complaint.node, node))
                found.append(Suspect(node, score, 0.0, self._since.get(node), (*told, *path)))
        found.sort(key=lambda one: (-one.score, self._distances.get(one.node, 1_000_000), one.node))
        return found

    def _count(self, node: str, score: float, words: str, since: float | None) -> None:
        self._innocence[node] = self._innocence.get(node, 1.0) * (1 - min(score, 0.99))
        self._evidence.setdefault(node, []).append(Evidence(words, round(score, 3)))
        if since is not None:
            self._since[node] = min(since, self._since.get(node, since))

    def _reach(self, node: str) -> float:
        return 1.0 if node in self._distances else self._weights.elsewhere

    def _order(self, shift: Shift) -> float:
        mine, theirs = shift.since, self._target.since
        late = mine is not None and theirs is not None and mine > theirs + self._complaint.step
        return self._weights.late if late else 1.0

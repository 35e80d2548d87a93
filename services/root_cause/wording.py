"""Evidence in words, with its numbers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from quantum_suite.services.root_cause.accounting import Account
from quantum_suite.services.root_cause.interface import Change, Complaint, Evidence, Kind, Signal
from quantum_suite.services.root_cause.shifts import Shift

_UNITS: Mapping[Kind, str] = {"latency": " s", "errors": "", "traffic": "", "saturation": ""}
_TOLD = 3


def shifted(shift: Shift, account: Account, complaint: Complaint) -> str:
    """Say how a node's signal moved, and whose doing that is."""
    signal = shift.signal
    unit = _UNITS[signal.kind]
    said = (
        f"{signal.name}: {shift.reference:.4g}{unit} before, {shift.during:.4g}{unit} since "
        f"{_clock(shift.since if shift.since is not None else complaint.onset)}, "
        f"{shift.strength:.0f} times its usual spread"
    )
    if account.blamed:
        others = ", ".join(account.blamed[:_TOLD])
        said += f"; {account.own:.0%} of that is its own, the rest comes from {others}"
    else:
        said += "; nothing it depends on explains that"
    if signal.kind == complaint.kind and signal.node != complaint.node:
        said += f"; enough for {account.explains:.0%} of what is complained of"
    return said + "."


def silent(node: str) -> str:
    """Say that a node is no longer measured."""
    return f"{node} was measured without a gap until the onset, and not since."


def changed(change: Change, complaint: Complaint) -> str:
    """Say what was changed, and how long before."""
    seconds = complaint.onset - change.at
    long = f"{abs(seconds) / 60:.0f} min" if abs(seconds) >= 90 else f"{abs(seconds):.0f} s"
    when = f"{long} before the onset" if seconds >= 0 else f"{long} after the onset"
    origin = f" ({change.source})" if change.source else ""
    return f"Changed {when}: {change.what}{origin}."


def path(chain: Sequence[str]) -> tuple[Evidence, ...]:
    """Say how what complains depends on a node."""
    if len(chain) < 2:
        return ()
    return (Evidence(f"What complains depends on it: {' -> '.join(chain)}.", 0.0),)


def gaps(signals: Sequence[Signal], shifts: Mapping[Kind, Mapping[str, Shift]]) -> Iterable[str]:
    """Say what could not be compared."""
    compared = {(kind, node) for kind, by_node in shifts.items() for node in by_node}
    missing = sorted({signal.node for signal in signals if (signal.kind, signal.node) not in compared})
    if missing:
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        yield (
            f"Not everything of {', '.join(missing[:_TOLD])}{more} could be compared: too few points before the "
            "onset, or none since."
        )


def _clock(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""Counting verdicts."""

import math
from collections.abc import Sequence

from quantum_suite.services.mutation.interface import MutantResult, MutantVerdict

_NOTICED = (MutantVerdict.KILLED, MutantVerdict.TIMEOUT)
_MISSED = (MutantVerdict.SURVIVED, MutantVerdict.NO_COVERAGE)
_Z95 = 1.959963984540054


def counts(results: Sequence[MutantResult]) -> tuple[int, int]:
    """Return how many mutants were noticed, and how many count at all."""
    noticed = sum(result.verdict in _NOTICED for result in results)
    return noticed, noticed + sum(result.verdict in _MISSED for result in results)


def score(results: Sequence[MutantResult]) -> float | None:
    """Return the share noticed of those that count, 0 to 1; None when none does."""
    noticed, counted = counts(results)
    return noticed / counted if counted else None


def wilson(noticed: int, counted: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share (Wilson, JASA 22, 1927, p. 209), within 0 and 1; None of nothing."""
    if not counted:
        return None
    share, z2 = noticed / counted, _Z95**2
    middle = (share + z2 / (2 * counted)) / (1 + z2 / counted)
    spread = _Z95 * math.sqrt(share * (1 - share) / counted + z2 / (4 * counted**2)) / (1 + z2 / counted)
    return max(0.0, middle - spread), min(1.0, middle + spread)

"""The season of a series, found in the data: by the autocorrelation of its ranks, which outliers do not move."""

import numpy as np

from quantum_suite.services.anomalies.memory import Floats

_SHORTEST = 8
"""Points in the shortest season that is looked for."""
_INDEPENDENT = 0.1
"""Autocorrelation below which a series counts as having forgotten where it was."""
_LEAST = 0.3
_NEARLY_AS_GOOD = 0.85
"""A shorter season is taken when it explains this much of what the best one does: its multiples do as well."""


def find_period(values: Floats) -> int | None:
    """Return the length of the season in points; None where there is none, or not twice in what is there."""
    count = len(values)
    longest = count // 2
    if longest <= _SHORTEST:
        return None
    likeness = _autocorrelation(values, longest + 1)
    if likeness is None:
        return None
    forgotten = np.flatnonzero(likeness < _INDEPENDENT)
    if not len(forgotten):
        return None
    first = max(_SHORTEST, int(forgotten[0]))
    if first >= longest:
        return None
    best = float(likeness[first : longest + 1].max())
    if best < _LEAST:
        return None
    inner = likeness[first:longest]
    tops = (inner >= likeness[first - 1 : longest - 1]) & (inner >= likeness[first + 1 : longest + 1])
    good = np.flatnonzero(tops & (inner >= _NEARLY_AS_GOOD * best))
    return int(good[0]) + first if len(good) else first + int(likeness[first : longest + 1].argmax())


def _autocorrelation(values: Floats, lags: int) -> Floats | None:
    """Return the unbiased autocorrelation of the ranks at lags from 0; None for a constant."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    # Equal values have the mean of their ranks.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place].astype(np.float64)
    ranks -= ranks.mean()
    size = 1 << (2 * len(ranks) - 1).bit_length()
    spectrum = np.fft.rfft(ranks, size)
    products = np.fft.irfft(spectrum * np.conj(spectrum), size)[:lags]
    if products[0] <= 0:
        return None
    found: Floats = products / products[0] * len(ranks) / (len(ranks) - np.arange(lags))
    return found

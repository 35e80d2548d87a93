"""VUS-PR: the volume under the precision-recall surface (Paparrizos and others, VLDB 2022).

Labels get buffers on both sides that fall off with the square root; recall counts them half and is weighed by the
share of anomalies that are touched at all. Taken over buffers of all lengths up to a window's, so that no single
tolerance decides.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_THRESHOLDS = 250
_BUFFERS = 10


def vus_pr(scores: Floats, labels: NDArray[np.bool_], longest: int) -> float:
    """Return the volume for buffers from 0 to `longest` points; there has to be an anomaly."""
    lengths = np.unique(np.linspace(0, longest, _BUFFERS + 1).astype(int))
    return float(np.mean([average_precision(scores, labels, int(length)) for length in lengths]))


def average_precision(scores: Floats, labels: NDArray[np.bool_], length: int) -> float:
    """Return the area under the range-based precision-recall curve for one length of buffers."""
    soft = _with_buffers(labels, length)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (soft > 0).astype(int), [0]])))
    segments = list(zip(edges[::2], edges[1::2], strict=True))
    highest = np.sort(np.array([scores[begin:end].max() for begin, end in segments]))
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(soft[order])
    places = np.unique(np.linspace(0, len(scores) - 1, _THRESHOLDS).astype(int))
    thresholds = np.unique(ordered[places])[::-1]
    predicted = np.searchsorted(-ordered, -thresholds, side="right")
    positives = (labels.sum() + soft.sum()) / 2
    touched = (len(highest) - np.searchsorted(highest, thresholds)) / len(highest)
    recall = np.minimum(1.0, hits[predicted - 1] / positives) * touched
    precision = hits[predicted - 1] / predicted
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _with_buffers(labels: NDArray[np.bool_], length: int) -> Floats:
    soft = labels.astype(float)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(int), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        for distance in range(1, length // 2 + 1):
            weight = np.sqrt(1 - distance / length)
            for place in (begin - distance, end - 1 + distance):
                if 0 <= place < len(soft):
                    soft[place] = max(soft[place], weight)
    return soft


def check() -> None:
    """Compare with a case computed by hand; raises AssertionError.

    Five points, the second an anomaly, buffers of 2: weights 0.7071, 1, 0.7071, so 1.7071 positives. The highest
    score has it alone: recall 0.5858, precision 1. The next adds a buffer: recall 1, precision 0.8536. The area is
    0.5858 + 0.4142 * 0.8536 = 0.9393; without buffers it is 1.
    """
    scores, labels = np.array([0.5, 0.9, 0.1, 0.2, 0.3]), np.array([False, True, False, False, False])
    assert abs(average_precision(scores, labels, 2) - 0.939340) < 1e-5
    assert abs(average_precision(scores, labels, 0) - 1.0) < 1e-9
    assert abs(vus_pr(scores, labels, 2) - (1.0 + average_precision(scores, labels, 1) + 0.939340) / 3) < 1e-5

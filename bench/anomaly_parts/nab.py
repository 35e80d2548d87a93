"""NAB's corpus and its score (Lavin and Ahmad 2015), computed for all thresholds at once.

Within a labelled window the earliest alarm counts, by its place: 1 at the left edge, 0 at the right one. Outside,
every alarm costs, less of it shortly after a window. The first 15 % of a file, at most 750 points, do not count.
Scores are put on a scale on which a silent detector has 0 and a perfect one 100.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """What an alarm in a window, one outside, and a missed window weigh."""

    name: str
    true_positive: float
    false_positive: float
    false_negative: float


PROFILES = (
    Profile("standard", 1.0, 0.11, 1.0),
    Profile("reward_low_FP_rate", 1.0, 0.22, 1.0),
    Profile("reward_low_FN_rate", 1.0, 0.11, 2.0),
)
_PROBATION = 0.15
_PROBATION_CAP = 5000


@dataclass(frozen=True, slots=True)
class NabFile:
    """One file with its labels, and what an alarm at each of its points is worth before weights."""

    name: str
    times: Floats
    values: Floats
    window: NDArray[np.int64]
    """The number of the window a point is in; -1 outside."""
    windows: int
    worth: Floats
    counts: NDArray[np.bool_]
    """Points after the probationary period."""
    tuning: bool
    """Whether it belongs to the half that things were tuned on: every other file of each category, by name."""


def read_corpus(root: Path) -> list[NabFile]:
    """Read `data/` and `labels/combined_windows.json`."""
    labels = json.loads((root / "labels" / "combined_windows.json").read_text())
    seen: Counter[str] = Counter()
    files = []
    for name in sorted(labels):
        category = name.partition("/")[0]
        files.append(_read(root / "data" / name, name, labels[name], tuning=seen[category] % 2 == 0))
        seen[category] += 1
    return files


def read_scores(root: Path, detector: str, files: Sequence[NabFile]) -> list[Floats]:
    """Read the scores that NAB publishes of a detector."""
    scores = []
    for file in files:
        category, _, name = file.name.partition("/")
        with (root / "results" / detector / category / f"{detector}_{name}").open(newline="") as rows:
            scores.append(np.array([float(row["anomaly_score"]) for row in csv.DictReader(rows)]))
    return scores


def _read(path: Path, name: str, windows: list[list[str]], *, tuning: bool) -> NabFile:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    stamps = [row[0] for row in rows]
    edges = [(left[:19], right[:19]) for left, right in windows]
    window, worth = _worth(stamps, edges)
    probation = min(math.floor(_PROBATION * len(rows)), _PROBATION * _PROBATION_CAP)
    return NabFile(
        name,
        np.array([datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp() for stamp in stamps]),
        np.array([float(row[1]) for row in rows]),
        window,
        len(windows),
        worth,
        np.arange(len(rows)) >= probation,
        tuning,
    )


def _sigmoid(place: float) -> float:
    return -1.0 if place > 3 else 2 / (1 + math.exp(5 * place)) - 1


def _worth(stamps: list[str], edges: list[tuple[str, str]]) -> tuple[NDArray[np.int64], Floats]:
    window, worth = np.full(len(stamps), -1), np.full(len(stamps), -1.0)
    current: tuple[int, int] | None = None
    before: tuple[int, int] | None = None
    number = -1
    for place, stamp in enumerate(stamps):
        if number + 1 < len(edges) and stamp == edges[number + 1][0]:
            number += 1
            right = stamps.index(edges[number][1])
            current = (right, right - stamps.index(stamp) + 1)
        if current is not None:
            window[place] = number
            worth[place] = _sigmoid(-(current[0] - place + 1) / current[1]) / _sigmoid(-1.0)
            if stamp == edges[number][1]:
                before, current = (place, current[1]), None
        elif before is not None:
            worth[place] = _sigmoid(abs(before[0] - place) / (before[1] - 1))
    return window, worth


@dataclass(frozen=True, slots=True)
class Curve:
    """The score of some files at every threshold, highest threshold first."""

    thresholds: Floats
    scores: Floats

    def at(self, threshold: float) -> float:
        """Return the score where points of at least `threshold` are alarms."""
        place = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return float(self.scores[max(0, place)])

    def best(self) -> float:
        """Return the threshold of the highest score: what NAB itself reports at."""
        return float(self.thresholds[int(np.argmax(self.scores))])

    def steady(self) -> float:
        """Return a threshold to carry over: the best one by the mean score of its neighbours.

        Neighbours are thresholds with a like number of alarms. The single best one is where the files at hand
        happen to lie well.
        """
        alarms = np.unique(np.geomspace(20, max(21, min(4000, len(self.scores) - 1)), 100).astype(int))
        alarms = alarms[alarms < len(self.scores)]
        if not len(alarms):
            # A detector that only says yes or no.
            return self.best()
        padded = np.pad(self.scores[alarms], 3, mode="edge")
        return float(self.thresholds[alarms[int(np.argmax(np.convolve(padded, np.ones(7) / 7, "valid")))]])


def sweep(files: Sequence[NabFile], scores: Sequence[Floats], profile: Profile) -> Curve:
    """Return the curve of a detector. Points of score 0 are never alarms."""
    parts: list[tuple[Floats, Floats]] = []
    for file, score in zip(files, scores, strict=True):
        outside = file.counts & (file.window < 0) & (score > 0)
        parts.append((score[outside], file.worth[outside] * profile.false_positive))
        for number in range(file.windows):
            inside = np.flatnonzero(file.counts & (file.window == number) & (score > 0))
            order = inside[np.argsort(-score[inside], kind="stable")]
            worth = np.maximum(file.worth[order] * profile.true_positive, -profile.false_negative)
            best = np.maximum.accumulate(worth) if len(worth) else worth
            parts.append((score[order], np.diff(best, prepend=-profile.false_negative)))
    thresholds = np.concatenate([part[0] for part in parts])
    changes = np.concatenate([part[1] for part in parts])
    order = np.argsort(-thresholds, kind="stable")
    thresholds, totals = thresholds[order], np.cumsum(changes[order])
    last = np.append(thresholds[1:] != thresholds[:-1], True)
    windows = sum(file.windows for file in files)
    scale = 100 / (windows * (profile.true_positive + profile.false_negative))
    return Curve(np.append(np.inf, thresholds[last]), np.append(0.0, totals[last]) * scale)


def found_and_false(files: Sequence[NabFile], scores: Sequence[Floats], threshold: float) -> tuple[float, float]:
    """Return the share of windows with an alarm, and the alarms outside of windows a thousand points."""
    found = windows = outside = points = 0
    for file, score in zip(files, scores, strict=True):
        alarms = (score >= threshold) & file.counts
        found += len(set(file.window[alarms].tolist()) - {-1})
        windows += file.windows
        outside += int((alarms & (file.window < 0)).sum())
        points += int((file.counts & (file.window < 0)).sum())
    return found / max(1, windows), 1000 * outside / max(1, points)

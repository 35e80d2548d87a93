"""How well anomalies are found, on NAB (the Numenta Anomaly Benchmark).

    git clone https://github.com/numenta/NAB
    python bench/anomalies.py --data NAB

The 58 files are split in halves: of each category every other file by name. On the first half weights, thresholds
and the scale of scores were chosen; the other half is reported with the threshold of the first (`carried`), and
beside it with the threshold that suits it best, which is how NAB itself reports (`optimised`). Peers are NAB's own
published scores of other detectors, scored on the same half in the same way, and a naive baseline: the deviation
from the mean of the last 300 points in standard deviations.

Before anything else the scorer is checked: with the published scores of each detector it has to come to NAB's
published figures at the thresholds NAB published. VUS-PR is the mean over files with anomalies.

`--write` renews `services/anomalies/accuracy.json`, which detect_anomalies shows beside its verdicts. `--smoke`
judges made-up series and needs no data. With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from anomaly_parts.nab import (
    PROFILES,
    Floats,
    NabFile,
    found_and_false,
    read_corpus,
    read_scores,
    sweep,
)
from anomaly_parts.volume import check, vus_pr

from quantum_suite.services.anomalies.calibration import THRESHOLDS, score_of
from quantum_suite.services.anomalies.detector import SeriesDetector
from quantum_suite.services.anomalies.interface import Sensitivity

ACCURACY = Path(__file__).resolve().parent.parent / "services" / "anomalies" / "accuracy.json"
COMMAND = "python bench/anomalies.py --data NAB"
PEERS = ("ARTime", "numenta", "contextOSE", "htmjava", "knncad", "earthgeckoSkyline", "windowedGaussian", "random")
OF_PROFILE: dict[str, Sensitivity] = {
    "standard": "normal",
    "reward_low_FP_rate": "low",
    "reward_low_FN_rate": "high",
}
WINDOW = 300


@dataclass(frozen=True, slots=True)
class Scored:
    """What a detector says of a corpus."""

    onsets: list[Floats]
    """What thresholds are compared with."""
    dense: list[Floats]
    """A score for every point."""


def ours(files: Sequence[NabFile]) -> tuple[Scored, float]:
    """Judge files point by point; returns also the CPU time of a point in microseconds."""
    onsets, dense = [], []
    begin = time.process_time()
    for file in files:
        detector = SeriesDetector()
        judged = [
            detector.update(at, value) for at, value in zip(file.times.tolist(), file.values.tolist(), strict=True)
        ]
        onsets.append(np.array([one.onset for one in judged]))
        dense.append(np.array([one.strength for one in judged]))
    points = sum(len(file.values) for file in files)
    return Scored(onsets, dense), 1e6 * (time.process_time() - begin) / points


def naive(files: Sequence[NabFile]) -> Scored:
    """Return deviations from the mean of the points before, in their standard deviations."""
    scores = []
    for file in files:
        sums = np.concatenate([[0.0], np.cumsum(file.values - file.values[0])])
        squares = np.concatenate([[0.0], np.cumsum((file.values - file.values[0]) ** 2)])
        place = np.arange(len(file.values))
        begin = np.maximum(0, place - WINDOW)
        count = np.maximum(1, place - begin)
        mean = (sums[place] - sums[begin]) / count
        variance = np.maximum((squares[place] - squares[begin]) / count - mean**2, 1e-12)
        scores.append(np.abs(file.values - file.values[0] - mean) / np.sqrt(variance))
    return Scored(scores, scores)


def check_scorer(root: Path, files: Sequence[NabFile]) -> dict[str, float]:
    """Return by how much our scorer differs from NAB's published figures, at NAB's published thresholds."""
    published = json.loads((root / "results" / "final_results.json").read_text())
    thresholds = json.loads((root / "config" / "thresholds.json").read_text())
    differences = {}
    for detector, figures in sorted(published.items()):
        if detector not in thresholds:
            continue
        scores = read_scores(root, detector, files)
        found = [
            abs(
                sweep(files, scores, profile).at(thresholds[detector][profile.name]["threshold"])
                - figures[profile.name]
            )
            for profile in PROFILES
        ]
        differences[detector] = max(found)
    return differences


def volume(files: Sequence[NabFile], dense: Sequence[Floats]) -> float:
    """Return the mean VUS-PR of files with anomalies, after their probationary period."""
    found = []
    for file, scores in zip(files, dense, strict=True):
        labels = (file.window >= 0) & file.counts
        if labels.any():
            longest = int(labels.sum() / len(set(file.window[labels].tolist())))
            found.append(vus_pr(scores[file.counts], labels[file.counts], longest))
    return float(np.mean(found))


def figures_of(name: str, files: Sequence[NabFile], scored: Scored) -> dict[str, float]:
    """Return the figures of a detector on the half that nothing was tuned on, and print a line."""
    halves = {
        tuning: [place for place, file in enumerate(files) if file.tuning is tuning] for tuning in (True, False)
    }

    def of(half: bool, what: Sequence[Floats]) -> tuple[list[NabFile], list[Floats]]:
        return [files[place] for place in halves[half]], [what[place] for place in halves[half]]

    figures: dict[str, float] = {}
    line = []
    for profile in PROFILES:
        tuned = sweep(*of(True, scored.onsets), profile)
        other = sweep(*of(False, scored.onsets), profile)
        threshold = tuned.steady()
        told = profile.name.lower()
        figures[f"{name}_{told}_tuned_on"] = tuned.at(threshold)
        figures[f"{name}_{told}_carried"] = other.at(threshold)
        figures[f"{name}_{told}_optimised"] = other.at(other.best())
        whole = sweep(files, scored.onsets, profile)
        figures[f"{name}_{told}_all_files_optimised"] = whole.at(whole.best())
        line.append(
            f"{tuned.at(threshold):6.1f} {other.at(threshold):6.1f} ({other.at(other.best()):5.1f})"
            f" [{whole.at(whole.best()):5.1f}]"
        )
        if name == "ours":
            shipped = THRESHOLDS[OF_PROFILE[profile.name]]
            print(f"# {profile.name}: threshold chosen {threshold:.4f}, shipped {shipped}")
    other_files, other_dense = of(False, scored.dense)
    figures[f"{name}_vus_pr"] = volume(other_files, other_dense)
    print(f"{name:18s} {' | '.join(line)} | {figures[f'{name}_vus_pr']:.3f}")
    return figures


def rarity(files: Sequence[NabFile], strengths: Sequence[Floats]) -> list[tuple[float, float]]:
    """Return strengths of ordinary points of the tuning half by how rare they are, as calibration.py has them."""
    ordinary = np.sort(
        np.concatenate(
            [
                one[file.counts & (file.window < 0)]
                for file, one in zip(files, strengths, strict=True)
                if file.tuning
            ]
        )
    )[::-1]
    exponents = [0.25 * step for step in range(1, 18)]
    return [(float(ordinary[int(len(ordinary) / 10**exponent)]), exponent) for exponent in exponents]


def smoke() -> dict[str, float]:
    """Judge series made for it: a wave with noise and one leap, found or not."""
    check()
    random = np.random.default_rng(7)
    found = 0
    for place in (700, 900, 1100):
        values = 10 + np.sin(np.arange(1200) / 40) + random.normal(0, 0.2, 1200)
        values[place:] += 6
        detector = SeriesDetector()
        alarms = [detector.update(60.0 * at, float(value)).alarm for at, value in enumerate(values)]
        found += any(alarm is not None and 60.0 * place <= alarm.time < 60.0 * (place + 10) for alarm in alarms)
    assert found == 3, found
    return {"leaps_found": float(found)}


def measure(root: Path, *, write: bool) -> dict[str, float]:
    """Measure everything; prints as it goes."""
    check()
    files = read_corpus(root)
    figures: dict[str, float] = {}
    if (root / "results").is_dir():
        differences = check_scorer(root, files)
        agree = sum(difference < 0.01 for difference in differences.values())
        worst = max(differences, key=differences.__getitem__)
        print(
            f"The scorer agrees with NAB's published figures for {agree} of {len(differences)} detectors at NAB's "
            f"thresholds; the largest difference is {differences[worst]:.4f} ({worst})."
        )
        figures |= {"scorer_detectors_agreeing": agree, "scorer_detectors": len(differences)}
    print(f"{'':18s} tuned on, carried, (optimised), [all files, optimised] by profile; VUS-PR")
    scored, microseconds = ours(files)
    figures |= figures_of("ours", files, scored)
    figures["microseconds_per_point"] = microseconds
    figures |= figures_of("naive", files, naive(files))
    for peer in PEERS if (root / "results").is_dir() else ():
        scores = read_scores(root, peer, files)
        figures |= figures_of(peer, files, Scored(scores, scores))
    return figures | _ours_beyond_nab(files, scored, figures, write=write)


def _ours_beyond_nab(
    files: Sequence[NabFile], scored: Scored, figures: dict[str, float], *, write: bool
) -> dict[str, float]:
    others = [place for place, file in enumerate(files) if not file.tuning]
    other_files = [files[place] for place in others]
    found, false = found_and_false(other_files, [scored.onsets[place] for place in others], THRESHOLDS["normal"])
    print(f"Shipped, normal: {found:.1%} of windows found, {false:.3f} false alarms a 1,000 points.")
    ordinary = np.concatenate([scored.dense[p][files[p].counts & (files[p].window < 0)] for p in others])
    scores_of_points = np.array([score_of(strength) for strength in ordinary.tolist()])
    for score in (0.4, 0.6, 0.8):
        once_in = len(ordinary) / max(1, int((scores_of_points >= score).sum()))
        print(
            f"Score {score}: should come once in {10 ** (5 * score):.0f} ordinary points, came in {once_in:.0f}."
        )
        figures[f"ours_points_to_score_{score}"] = once_in
    if write:
        told = {
            "benchmark": "NAB, the half of its files that nothing was tuned on",
            "date": datetime.now(UTC).date().isoformat(),
            "command": COMMAND,
            "standard": round(figures["ours_standard_carried"], 1),
            "reward_low_fp_rate": round(figures["ours_reward_low_fp_rate_carried"], 1),
            "reward_low_fn_rate": round(figures["ours_reward_low_fn_rate_carried"], 1),
            "found_percent": round(100 * found, 1),
            "false_alarms_per_1000_points": round(false, 3),
        }
        ACCURACY.write_text(json.dumps(told, indent=2) + "\n")
    return {"ours_found_share": found, "ours_false_per_1000_points": false}


def print_scale(root: Path) -> None:
    """Print what calibration.py holds, from the tuning half alone."""
    files = [file for file in read_corpus(root) if file.tuning]
    strengths = []
    for file in files:
        detector = SeriesDetector()
        pairs = zip(file.times.tolist(), file.values.tolist(), strict=True)
        strengths.append(np.array([detector.update(at, value).strength for at, value in pairs]))
    rows = ", ".join(f"({strength:.3f}, {exponent})" for strength, exponent in rarity(files, strengths))
    print(f"RARITY = ({rows})")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="NAB's directory")
    parser.add_argument("--smoke", action="store_true", help="a few seconds, without data")
    parser.add_argument("--scale", action="store_true", help="print the scale of scores from the tuning half")
    parser.add_argument("--write", action="store_true", help="renew accuracy.json")
    parser.add_argument("--json", action="store_true", help="end with a line of figures")
    options = parser.parse_args()
    if options.scale and options.data is not None:
        print_scale(options.data)
        return
    if options.data is None and not options.smoke:
        print("Nothing was measured: give --data NAB (git clone https://github.com/numenta/NAB). Running --smoke.")
    figures = smoke() if options.smoke or options.data is None else measure(options.data, write=options.write)
    if options.json:
        print(json.dumps({"figures": {name: round(value, 4) for name, value in figures.items()}}))


if __name__ == "__main__":
    main()

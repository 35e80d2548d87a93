"""How often an error budget runs out when its forecast says, on burns whose future is known.

    python bench/budget_forecasts.py

Three processes are made up, 168 slices of an hour of past and as many of future each: failures that come by chance
(independent), in outages (a two-state chain that stays bad for five hours), and with the hour of the day (daily).
The forecast sees the past; the future then says when the budget ran out, or that it did not within a period. Told
is how often that lies in the 80 % interval, and how often "within the window" or not was right.

`--smoke` takes few runs. With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from quantum_suite.services.slo.forecast import forecast
from quantum_suite.services.slo.history import BurnHistory, Slice
from quantum_suite.services.slo.interface import Indicator, Slo
from quantum_suite.services.slo.windows import windows_of

HOUR = 3600.0
SLICES = 168
NOW = 1_800_000_000.0
PERIOD = SLICES * HOUR
SLO = Slo("made-up", "burn", 99.0, Indicator(), windows_of(PERIOD), "made up", period_seconds=PERIOD)


def independent(chance: random.Random) -> list[float]:
    """A quarter of the hours is bad."""
    return [4.0 if chance.random() < 0.25 else 0.0 for _ in range(2 * SLICES)]


def outages(chance: random.Random) -> list[float]:
    """An outage begins in one hour of twenty, and lasts five hours on average."""
    bad, found = False, []
    for _ in range(2 * SLICES):
        bad = chance.random() < (0.8 if bad else 0.05)
        found.append(5.0 * chance.random() * 2 if bad else 0.0)
    return found


def daily(chance: random.Random) -> list[float]:
    """More fails by day than by night."""
    return [max(0.0, 1 + math.sin(hour / 24 * 2 * math.pi) + chance.gauss(0, 0.5)) for hour in range(2 * SLICES)]


PROCESSES: dict[str, Callable[[random.Random], list[float]]] = {
    "independent": independent,
    "outages": outages,
    "daily": daily,
}


@dataclass(slots=True)
class Score:
    """What was right."""

    runs: int = 0
    inside: int = 0
    outlook_right: int = 0


def came(bad: list[float]) -> float:
    """Return when the budget was gone in a rolling period; infinite for never."""
    for step in range(1, SLICES + 1):
        if sum(bad[step : step + SLICES]) >= SLICES:
            return NOW + step * HOUR
    return math.inf


def judge(name: str, runs: int) -> Score:
    """Make up burns and compare forecasts with what came."""
    chance = random.Random(f"budget-{name}")
    score = Score()
    while score.runs < runs:
        bad = PROCESSES[name](chance)
        # The past begins calm, so that the budget is not gone yet.
        bad[: SLICES // 2] = [0.0] * (SLICES // 2)
        past = [Slice(NOW - PERIOD + (index + 1) * HOUR, bad[index], 100.0) for index in range(SLICES)]
        found = forecast(SLO, BurnHistory(HOUR, NOW - PERIOD, NOW, tuple(past), True, None))
        if found.outlook not in ("within the window", "not within the window"):
            continue
        gone = came(bad)
        score.runs += 1
        score.inside += (found.earliest or math.inf) <= gone <= (found.latest or math.inf)
        score.outlook_right += (found.outlook == "within the window") == (gone < math.inf)
    return score


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="burns of each process")
    parser.add_argument("--smoke", action="store_true", help="ten of each; a few seconds")
    parser.add_argument("--json", action="store_true", help="figures as JSON in the last line")
    arguments = parser.parse_args()
    runs = 10 if arguments.smoke else arguments.runs
    started = time.process_time()
    figures: dict[str, float] = {"runs": runs}
    for name in PROCESSES:
        score = judge(name, runs)
        figures[f"{name}_inside"] = round(score.inside / score.runs, 3)
        figures[f"{name}_outlook_right"] = round(score.outlook_right / score.runs, 3)
        print(f"{name}: {figures[f'{name}_inside']:.0%} inside, {figures[f'{name}_outlook_right']:.0%} told right")
    figures["cpu_seconds"] = round(time.process_time() - started, 1)
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()

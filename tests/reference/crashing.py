"""Kills hubs, workers and servers at random moments, and starts them again."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from reference.backends import Backend
from reference.crash_work import Order

HERE = Path(__file__).parent
LONGEST_PAUSE_SECONDS = 1.2
"""Longest time between two kills."""

LONGEST_ABSENCE_SECONDS = 2.0
FROZEN_SECONDS = 17.0
"""Longer than the longest lease: whoever wakes up after it has been succeeded everywhere."""

READY_SECONDS = 60.0
POLL_SECONDS = 0.05


class Fork:
    """The process that children are forked from."""

    def __init__(self, directory: Path, command: Sequence[str], environment: dict[str, str]) -> None:
        self._log = directory / "fork.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **environment, "PYTHONPATH": str(HERE.parent)},
            )

    def child(self, order: Order) -> int:
        """Start a child; returns its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"No child came: {self._log.read_text(errors='replace')[-2000:]}")
        return int(answer)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """End it; children live on."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Child:
    """A hub or a worker, over all of its lives."""

    order: Order
    fork: Fork
    pid: int = 0
    lives: int = 0
    frozen: bool = False

    def start(self) -> None:
        """Begin a life."""
        self.pid = self.fork.child(self.order)
        self.lives += 1
        self.frozen = False

    def kill(self) -> None:
        """End it as a loss of power would."""
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        """Have it hang."""
        self._send(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)
        self.frozen = False

    def ask_to_end(self) -> None:
        """Have it end in order."""
        self._send(signal.SIGTERM)

    def ask_for_quiet(self) -> None:
        """Have it produce nothing more, in this life and in those to come."""
        Path(self.order.said).with_suffix(".quiet").touch()

    @property
    def lives_now(self) -> bool:
        """Whether it runs."""
        status = Path(f"/proc/{self.pid}/stat")
        with suppress(FileNotFoundError, ProcessLookupError):
            return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
        return False

    def said(self) -> list[dict[str, Any]]:
        """Return what it said in all of its lives; a last line without an end does not count."""
        path = Path(self.order.said)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def said_now(self) -> list[dict[str, Any]]:
        """Return what it said in its present life, as far as that is told from others."""
        return [line for line in self.said() if line.get("pid") == self.pid]

    @property
    def is_ready(self) -> bool:
        """Whether it has opened everything in its present life."""
        return any("ready" in line for line in self.said_now())

    @property
    def loops_ended(self) -> int:
        """How many of its loops that produce have come to their end in its present life."""
        return sum("done" in line for line in self.said_now())

    def log(self) -> str:
        """Return the end of its log."""
        path = Path(f"{self.order.said}.log")
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Crew:
    """Everything that can be killed."""

    fork: Fork
    children: list[Child]
    backends: list[Backend]
    chance: random.Random
    kills: dict[str, int] = field(default_factory=dict)

    async def ready(self) -> None:
        """Return once every child is ready; raises when one ended by itself."""
        with anyio.fail_after(READY_SECONDS):
            while not all(child.is_ready for child in self.children):
                self.look_after()
                await anyio.sleep(POLL_SECONDS)

    @property
    def is_quiet(self) -> bool:
        """Whether whoever produces has come to the end of it, in its present life."""
        producing = [child for child in self.children if child.order.produces]
        return all(child.loops_ended == 2 for child in producing)

    def said(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the children said, by their names."""
        return {child.order.name: child.said() for child in self.children}

    def look_after(self) -> None:
        """Raise when a child ended by itself."""
        for child in self.children:
            died = [line["died"] for line in child.said() if "died" in line]
            if died or not child.lives_now:
                reason = died[-1] if died else child.log()
                raise AssertionError(f"{child.order.name} ended by itself:\n{reason}")

    async def torment(self, kills: int, freezes: int) -> None:
        """Kill, at random moments, so many times; so often a worker is frozen for longer than its leases."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._freeze, freezes)
            for _ in range(kills):
                await anyio.sleep(self.chance.uniform(0, LONGEST_PAUSE_SECONDS))
                self.look_after()
                awake = [child for child in self.children if not child.frozen]
                await self._kill(self.chance.choice([*awake, *self.backends]))

    async def _kill(self, victim: Child | Backend) -> None:
        if isinstance(victim, Child):
            name = victim.order.name
            victim.kill()
            victim.start()
        else:
            name = type(victim).__name__
            await anyio.to_thread.run_sync(victim.kill)
            if self.chance.random() < 0.5:
                await anyio.sleep(self.chance.uniform(0, LONGEST_ABSENCE_SECONDS))
            await anyio.to_thread.run_sync(victim.start)
        self.kills[name] = self.kills.get(name, 0) + 1

    async def _freeze(self, times: int) -> None:
        workers = [child for child in self.children if not child.order.produces]
        for _ in range(times):
            await anyio.sleep(self.chance.uniform(0, LONGEST_PAUSE_SECONDS))
            victim = self.chance.choice(workers)
            victim.freeze()
            try:
                await anyio.sleep(FROZEN_SECONDS)
            finally:
                victim.thaw()

    def set_clocks_back(self) -> None:
        """Set the clocks of all back, of those as well that are still to start (`crash_clocked.py`)."""
        self.fork.send(signal.SIGUSR1)
        for child in self.children:
            os.kill(child.pid, signal.SIGUSR1)

    async def end(self) -> None:
        """Have all children end in order; raises TimeoutError or AssertionError when one does not."""
        for child in self.children:
            child.ask_to_end()
        with anyio.fail_after(READY_SECONDS):
            while any(child.lives_now for child in self.children):
                await anyio.sleep(POLL_SECONDS)
        for child in self.children:
            assert any("ended" in line for line in child.said_now()), f"{child.order.name}:\n{child.log()}"


@asynccontextmanager
async def crew(
    orders: Sequence[Order],
    directory: Path,
    backends: Sequence[Backend],
    seed: str,
    environment: dict[str, str] | None = None,
    program: Sequence[str] = ("crash_hub.py",),
    prefix: Sequence[str] = (),
) -> AsyncIterator[Crew]:
    """Start the children; the servers run already. Whoever still lives at the end is killed."""
    command = [*prefix, sys.executable, str(HERE / program[0]), *program[1:]]
    fork = Fork(directory, command, environment or {})
    children = [Child(order, fork) for order in orders]
    try:
        for child in children:
            child.start()
        yield Crew(fork, children, list(backends), random.Random(seed))
    finally:
        for child in children:
            child.kill()
        fork.close()

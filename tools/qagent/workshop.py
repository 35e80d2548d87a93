"""Where changes are judged: the sandbox, the copies and the judge over them, opened when they are first needed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.code_scanning.interface import Engine
from quantum_suite.services.mutation.engine import PythonMutationEngine
from quantum_suite.services.mutation.interface import MutationEngine
from quantum_suite.services.sandbox.opening import SandboxChoice, best_sandbox
from quantum_suite.services.scratch.files import open_scratch_space
from quantum_suite.services.testing.interface import ReachMap, Runner
from quantum_suite.services.testing.runners import all_runners
from quantum_suite.services.validators.gates import code_gates
from quantum_suite.services.validators.judge import Judge
from quantum_suite.services.validators.tests_gate import TestLimits

Progress = Callable[[int, int, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a judgement stands on."""

    sandbox: SandboxChoice
    judge: Judge
    runners: tuple[Runner, ...]
    mutation: MutationEngine


@dataclass(slots=True)
class Workshop:
    """Opens the judge once; everything it leaves behind lies below `directory`, which only this user can read."""

    directory: Path
    capacity: Capacity
    engines: Sequence[Engine]
    reach: ReachMap | None = None
    limits: TestLimits = field(default_factory=TestLimits)
    _tools: Tools | None = None
    _opening: anyio.Lock = field(default_factory=anyio.Lock)

    async def tools(self) -> Tools:
        """Return the judge and what it stands on."""
        async with self._opening:
            if self._tools is None:
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                choice = await best_sandbox()
                space = await open_scratch_space(self.directory / "copies")
                work = self.directory / "work"
                work.mkdir(exist_ok=True, mode=0o700)
                runners = all_runners(choice.sandbox, self.directory / "runs")
                gates = code_gates(
                    choice.sandbox, self.engines, runners, reach=self.reach, limits=self.limits, work_dir=work
                )
                mutation = PythonMutationEngine(choice.sandbox, work)
                self._tools = Tools(choice, Judge(space, gates), runners, mutation)
            return self._tools

    @asynccontextmanager
    async def open(self, what: str, progress: Progress) -> AsyncIterator[Tools]:
        """Hold a place for heavy work while the context lasts."""

        async def waiting(words: str) -> None:
            await progress(0, 1, words)

        tools = await self.tools()
        async with self.capacity.place(what, waiting):
            yield tools

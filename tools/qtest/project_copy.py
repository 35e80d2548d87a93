"""A project's private copy, and the runner for it: tests never run in the workspace itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.sandbox.opening import SandboxChoice, best_sandbox
from quantum_suite.services.scratch.files import open_scratch_space
from quantum_suite.services.scratch.interface import Scratch, ScratchSpace
from quantum_suite.services.testing.interface import TestRequest
from quantum_suite.services.testing.interpreters import ENVIRONMENTS
from quantum_suite.services.testing.runners import Chosen, all_runners, choose_runner

Progress = Callable[[int, int, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ProjectCopy:
    """A copy to run tests in. Whoever holds it may change it."""

    scratch: Scratch
    chosen: Chosen
    sandbox: SandboxChoice

    @property
    def root(self) -> Path:
        """Return the copy's top."""
        return self.scratch.root

    @property
    def origin(self) -> Path:
        """Return the workspace."""
        return self.scratch.origin

    def request(self) -> TestRequest:
        """Return a request for all tests of the copy, with the project's own interpreter and packages."""
        python = next(
            (path for name in ENVIRONMENTS if (path := self.root / name / "bin" / "python").is_file()), None
        )
        return TestRequest(self.root, python=python, readable=self.scratch.read_only)


@dataclass(slots=True)
class ProjectCopies:
    """Makes copies. The sandbox is chosen once, on first use."""

    directory: Path
    """Where copies and what runs leave behind are kept; only this user can read it."""
    capacity: Capacity
    node: Path | None = None
    _sandbox: SandboxChoice | None = None
    _space: ScratchSpace | None = None
    _opening: anyio.Lock = field(default_factory=anyio.Lock)

    async def sandbox(self) -> SandboxChoice:
        """Return how foreign code is kept apart on this machine."""
        async with self._opening:
            if self._sandbox is None:
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._sandbox = await best_sandbox()
                self._space = await open_scratch_space(self.directory / "copies")
            return self._sandbox

    @asynccontextmanager
    async def copy(
        self, root: Path, runner: str | None, what: str, progress: Progress
    ) -> AsyncIterator[ProjectCopy]:
        """Hold a copy of the project at `root`, and a place for heavy work, while the context lasts.

        Raises CallerError when the project is too large, or no tests are recognised in it (`runner`).
        """

        async def waiting(words: str) -> None:
            await progress(0, 1, words)

        choice = await self.sandbox()
        space = self._space
        if space is None:
            raise RuntimeError("The scratch space is opened with the sandbox.")
        async with self.capacity.place(what, waiting), space.copy(root) as scratch:
            runners = all_runners(choice.sandbox, self.directory / "runs", self.node)
            chosen = choose_runner(runners, scratch.root, runner)
            await progress(0, 1, f"{scratch.files} files copied; {chosen.runner.name}, because {chosen.reason}")
            yield ProjectCopy(scratch, chosen, choice)

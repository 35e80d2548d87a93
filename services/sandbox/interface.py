"""The port for running foreign code: limits in, an account of what happened out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from quantum_suite.core.verdicts import Isolation

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command may use. Whoever goes past one is ended with everything it started."""

    seconds: float = 120.0
    """Wall time."""
    memory_bytes: int = 2048 * MEBIBYTE
    """What each process may ask for to write to (RLIMIT_DATA: not its address space, of which runtimes such as
    node's and Go's reserve far more than they use), and may hold. All together may hold four times as much."""
    processes: int = 128
    """Processes and threads at once."""
    file_bytes: int = 512 * MEBIBYTE
    """The largest file it may write; also what it may add to its writable folders in all."""
    output_bytes: int = 4 * MEBIBYTE
    """How much of stdout, and of stderr, is kept. More is read and dropped; a flood of 64 times as much ends
    it."""


@dataclass(frozen=True, slots=True)
class SandboxCommand:
    """What to run, and what it may touch. No shell sees it."""

    command: Sequence[str]
    cwd: Path
    writable: Sequence[Path] = ()
    """Folders it may change; `cwd` only if it is among them."""
    readable: Sequence[Path] = ()
    """Further folders it may read, beside the system's, this Python's and `cwd`."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to a minimal environment; nothing else of the suite's environment is seen."""
    stdin: bytes | None = None
    network: bool = False
    limits: Limits = field(default_factory=Limits)


EndedBy = Literal["itself", "timeout", "memory", "processes", "disk", "output", "signal"]
"""`signal`: killed by one it did not get from us. `memory` and `disk` are told where the system lets us know."""


@dataclass(frozen=True, slots=True)
class SandboxRun:
    """What became of a command."""

    returncode: int
    """The exit status; negative is the number of the signal that ended it."""
    ended_by: EndedBy
    stdout: bytes
    """The first and the last half of what is kept, where there was more."""
    stderr: bytes
    truncated: bool
    isolation: Isolation
    seconds: float
    explanation: str
    """One sentence for a person: how it ended, which limit it met, how it was kept apart."""


class Sandbox(Protocol):
    """Runs commands. When `run` returns or raises, no process of the command is left, even one that left its
    group."""

    @property
    def isolation(self) -> Isolation:
        """Return how strictly this one keeps things apart."""
        ...

    async def run(
        self, command: SandboxCommand, on_stdout_line: Callable[[bytes], Awaitable[None]] | None = None
    ) -> SandboxRun:
        """Run a command to its end, or to a limit; neither is an error. Cancelled, everything is ended first.

        Raises ProcessNotStarted when the program does not exist, ConfigurationError when a folder does not.
        """
        ...

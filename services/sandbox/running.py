"""Runs a command that somebody keeps apart, until it ends or has to be ended. Shared by all sandboxes."""

import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.services.process_group import ProcessGroup
from quantum_suite.services.sandbox.disk_use import DiskUse, FoldersTooDeep
from quantum_suite.services.sandbox.following import Listener, OnLine, follow
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.sandbox.output import FLOOD_FACTOR, HeadAndTail
from quantum_suite.services.sandbox.process_ceiling import ProcessCeiling, process_ceiling
from quantum_suite.services.sandbox.watch import Ending, Verdict, Watch, size_in_words


class Keeper(Protocol):
    """Ends a command with everything it started."""

    async def end(self, process: ProcessGroup, watch: Watch) -> None:
        """Return when no process of the command is left."""
        ...


@dataclass(frozen=True, slots=True)
class Launch:
    """A command as it is started: wrapped in whatever keeps it apart."""

    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes | None
    limits: Limits
    watched: Sequence[Path]
    """The folders that it may add to."""
    pass_fds: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of it."""

    returncode: int
    ending: Ending | None
    """Why it was ended; None when it ended by itself."""
    stdout: bytes
    stderr: bytes
    truncated: bool
    seconds: float


async def run_kept(launch: Launch, keeper: Keeper, on_line: OnLine | None) -> Ended:
    """Run to the end or to a limit. When this returns or raises, the keeper has ended everything."""
    async with _ceiling(launch.limits.processes) as ceiling:
        return await _run_below(ceiling, launch, keeper, on_line)


@asynccontextmanager
async def _ceiling(processes: int) -> AsyncIterator[ProcessCeiling]:
    context = process_ceiling(processes)
    ceiling = await anyio.to_thread.run_sync(context.__enter__)
    try:
        yield ceiling
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(context.__exit__, None, None, None)


async def _run_below(ceiling: ProcessCeiling, launch: Launch, keeper: Keeper, on_line: OnLine | None) -> Ended:
    verdict = Verdict()
    limits = launch.limits
    stdout = HeadAndTail(limits.output_bytes, _flood("stdout", limits, verdict))
    stderr = HeadAndTail(limits.output_bytes, _flood("stderr", limits, verdict))
    listener = None if on_line is None else Listener(on_line)

    def on_stdout(data: bytes) -> None:
        stdout.feed(data)
        if listener is not None:
            listener.feed(data)

    try:
        disk = await anyio.to_thread.run_sync(DiskUse, launch.watched, limits.file_bytes)
    except FoldersTooDeep as error:
        raise ConfigurationError(
            "A writable folder has folders nested more deeply than can be looked into.", "Remove them."
        ) from error
    started = time.monotonic()
    process = await ProcessGroup.start(
        ceiling.wrapped(launch.command),
        on_stdout,
        stderr,
        cwd=launch.cwd,
        env=launch.env,
        whole_env=True,
        stdin=subprocess.DEVNULL if launch.stdin is None else subprocess.PIPE,
        grace_seconds=0.5,
        pass_fds=launch.pass_fds,
    )
    watch = Watch(process.pid, limits, disk, verdict)
    try:
        with anyio.move_on_after(limits.seconds) as scope:
            if launch.stdin is not None and process.stdin is not None:
                process.stdin.write(launch.stdin)
                process.stdin.close()
            await follow(process, watch, verdict, stdout, listener)
        if scope.cancelled_caught:
            verdict.end("timeout", f"it did not finish within {limits.seconds:g} seconds")
    finally:
        with anyio.CancelScope(shield=True):
            await keeper.end(process, watch)
            await process.end(patient=False, gentle=False)
    if ceiling.was_met():
        verdict.end("processes", f"it was refused more processes, and may run {limits.processes}")
    if process.popen.returncode is None:
        raise Unavailable(
            "A sandbox could not be ended: the machine is too busy, or a process hangs in the kernel.",
            "Look for processes that do not go away, then try again.",
        )
    return Ended(
        returncode=process.popen.returncode,
        ending=verdict.ending,
        stdout=stdout.content(),
        stderr=stderr.content(),
        truncated=stdout.truncated or stderr.truncated,
        seconds=time.monotonic() - started,
    )


def _flood(stream: str, limits: Limits, verdict: Verdict) -> Callable[[], None]:
    most = size_in_words(FLOOD_FACTOR * limits.output_bytes)
    return lambda: verdict.end("output", f"it wrote more than {most} to {stream}")

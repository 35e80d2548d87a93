"""Running foreign code under resource limits alone, where namespaces cannot be had."""

import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.process_group import ProcessGroup, ProcessNotStarted
from quantum_suite.services.sandbox import process_tree, supervisor
from quantum_suite.services.sandbox.environment import sandbox_environment
from quantum_suite.services.sandbox.explaining import account
from quantum_suite.services.sandbox.grants import checked_folders, find_program
from quantum_suite.services.sandbox.interface import SandboxCommand, SandboxRun
from quantum_suite.services.sandbox.process_tree import ProcessState
from quantum_suite.services.sandbox.running import Launch, OnLine, run_kept
from quantum_suite.services.sandbox.watch import Watch

FOLDER_PREFIX = "quantum-sandbox-"
"""How the folders for temporary files are called."""

_MARK = "QUANTUM_SANDBOX_RUN"
_END_SECONDS = 3.0


class RlimitSandbox:
    """Runs a command as the same user, under limits.

    Guaranteed on Linux: limits on time, output, the size of a file and the memory of one process; an environment
    with nothing of the suite's; temporary files and a home of its own, removed afterwards; the number of
    processes, memory and disk space of all are looked at several times a second, and everything is ended when they
    are exceeded. Whoever it started ends with it, also after leaving its group, session and parents, unless
    it kills the process that supervises it, wipes its environment and was never seen while looking.

    Not guaranteed: that it keeps to the folders granted, or off the network. It may read and write what the user
    may, and signal the user's other processes; so run it in a scratch copy. Elsewhere than on Linux, only who
    stays in its process group is ended, and processes, memory of all and disk space held open are not looked at.
    """

    isolation = Isolation.RLIMITS

    def __init__(self, *, folder: Path | None = None) -> None:
        """Make temporary folders below `folder`."""
        self._folder = folder if folder is not None else Path(tempfile.gettempdir())

    async def run(self, command: SandboxCommand, on_stdout_line: OnLine | None = None) -> SandboxRun:
        """Run a command to its end, or to a limit; neither is an error. Cancelled, everything is ended first.

        Raises ProcessNotStarted when the program does not exist, ConfigurationError when a folder does not.
        """
        cwd, writable, _ = checked_folders(command)
        limits = command.limits
        mark = secrets.token_hex(16)
        async with AsyncExitStack() as stack:
            private = await stack.enter_async_context(held_folder(self._folder, FOLDER_PREFIX))
            (private / "home").mkdir(mode=0o700)
            env = sandbox_environment(command.env, private / "home", private)
            program = find_program(command.command, cwd, env)
            report = stack.enter_context(_Report())
            launch = Launch(
                command=[
                    *(sys.executable, "-I", "-S", supervisor.__file__),
                    *(str(limits.file_bytes), str(limits.memory_bytes), str(report.write_end)),
                    str(program),
                    *command.command[1:],
                ],
                cwd=cwd,
                env={**env, _MARK: mark},
                stdin=command.stdin,
                limits=limits,
                watched=[*writable, private],
                pass_fds=[report.write_end],
            )
            ended = await run_kept(launch, _Keeper(f"{_MARK}={mark}".encode()), on_stdout_line)
            hindrance = report.read()
        if hindrance:
            raise ProcessNotStarted(
                f"{program} could not be started: {hindrance}.", "Check the command.", program=program.name
            )
        return account(ended, self.isolation, network=True)


class _Report:
    """A pipe on which the supervisor says why a command could not be started."""

    def __enter__(self) -> "_Report":
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read_end)
        os.close(self.write_end)

    def read(self) -> str:
        """Return what was said; empty when the command was started."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._read_end, 4_096).decode("utf-8", "replace")
        return ""


class _Keeper:
    """Has the supervisor end everything, and looks for what it could not if it was killed itself."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark

    async def end(self, process: ProcessGroup, watch: Watch | None) -> None:
        if not process.exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            with anyio.move_on_after(_END_SECONDS):
                await process.exited.wait()
        if process_tree.AVAILABLE:
            await anyio.to_thread.run_sync(self._end_strays, process.pid, watch.seen if watch else {})

    def _end_strays(self, supervisor_pid: int, seen: dict[int, ProcessState]) -> None:
        """Kill who carries the mark, who was seen below the supervisor, and who they started since."""
        deadline = time.monotonic() + _END_SECONDS
        while strays := self._strays(supervisor_pid, seen):
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for stray in strays:
                    with contextlib.suppress(OSError):
                        os.kill(stray.pid, number)
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)

    def _strays(self, supervisor_pid: int, seen: dict[int, ProcessState]) -> list[ProcessState]:
        found = {process.pid: process for process in process_tree.marked(self._mark)}
        everybody = process_tree.everybody()
        for process in everybody:
            known = seen.get(process.pid)
            if known is not None and known.started == process.started and not process.zombie:
                found[process.pid] = process
        for process in list(found.values()):
            found.update((below.pid, below) for below in process_tree.descendants(process.pid, everybody))
        found.pop(supervisor_pid, None)
        return list(found.values())

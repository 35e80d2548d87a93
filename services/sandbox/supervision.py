"""The suite's side of a supervisor: how it is started, what it reports, and who ends what it cannot."""

import contextlib
import dataclasses
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import anyio

from quantum_suite.services.process_group import ProcessGroup, ProcessNotStarted
from quantum_suite.services.sandbox import process_tree, supervisor
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.sandbox.process_tree import ProcessState
from quantum_suite.services.sandbox.running import Ended
from quantum_suite.services.sandbox.watch import Ending, Watch, too_many_processes

_MARK = "QUANTUM_SANDBOX_RUN"
_END_SECONDS = 60.0
"""How long the supervisor is given; a machine that thousands of processes keep busy takes its time."""


class Supervision:
    """Starts a command through a supervisor, and has it ended whole."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._mark = secrets.token_hex(16)
        self.report_fd = -1
        self._read_end = -1

    def __enter__(self) -> Self:
        self._read_end, self.report_fd = os.pipe()
        os.set_blocking(self._read_end, False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read_end)
        os.close(self.report_fd)

    @property
    def mark(self) -> dict[str, str]:
        """A variable that the command's processes are known by, should the supervisor be killed."""
        return {_MARK: self._mark}

    def supervised(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` under the supervisor."""
        limits = self._limits
        numbers = (limits.processes, limits.file_bytes, limits.memory_bytes, self.report_fd)
        return [sys.executable, "-I", "-S", supervisor.__file__, *map(str, numbers), *command]

    def judged(self, ended: Ended, program: Path) -> Ended:
        """Return what became of a command, with what the supervisor reported of it; raises ProcessNotStarted."""
        word, _, said = self._report().partition(" ")
        if word == "hindrance":
            raise ProcessNotStarted(
                f"{program} could not be started: {said}.", "Check the command.", program=program.name
            )
        if word == "processes" and ended.ending is None:
            reason = too_many_processes(int(said), self._limits.processes)
            return dataclasses.replace(ended, ending=Ending("processes", reason))
        return ended

    def _report(self) -> str:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._read_end, 4_096).decode("utf-8", "replace")
        return ""

    async def end(self, process: ProcessGroup, watch: Watch) -> None:
        """Have the supervisor end everything, and look for who got away if it was killed itself."""
        if not process.exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            with anyio.move_on_after(_END_SECONDS):
                await process.exited.wait()
        # One that ended by itself has left nobody. One that a signal ended may have been killed before its time.
        returncode = process.popen.returncode
        if process_tree.AVAILABLE and (returncode is None or returncode < 0):
            await anyio.to_thread.run_sync(self._end_strays, process.pid, watch.seen)

    def _end_strays(self, supervisor_pid: int, seen: dict[int, ProcessState]) -> None:
        """Kill who carries the mark, who was seen below the supervisor, and who they started since."""
        deadline = time.monotonic() + _END_SECONDS
        while strays := self._strays(supervisor_pid, seen):
            for group in {stray.group for stray in strays} - {supervisor_pid, os.getpgrp()}:
                with contextlib.suppress(OSError):
                    os.killpg(group, signal.SIGKILL)
            for stray in strays:
                with contextlib.suppress(OSError):
                    os.kill(stray.pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return
            time.sleep(0.002)

    def _strays(self, supervisor_pid: int, seen: dict[int, ProcessState]) -> list[ProcessState]:
        variable = f"{_MARK}={self._mark}".encode()
        found = {process.pid: process for process in process_tree.marked(variable)}
        everybody = process_tree.everybody()
        for process in everybody:
            known = seen.get(process.pid)
            if known is not None and known.started == process.started and not process.zombie:
                found[process.pid] = process
        for process in list(found.values()):
            found.update((below.pid, below) for below in process_tree.descendants(process.pid, everybody))
        found.pop(supervisor_pid, None)
        return list(found.values())

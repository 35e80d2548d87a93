"""Running foreign code in namespaces of its own, by bubblewrap."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.process_group import ProcessGroup, ProcessNotStarted
from quantum_suite.services.sandbox.environment import sandbox_environment
from quantum_suite.services.sandbox.explaining import account
from quantum_suite.services.sandbox.grants import (
    NETWORK_FILES,
    SYSTEM_FILES,
    SYSTEM_FOLDERS,
    checked_folders,
    environments_in,
    find_program,
    program_folders,
    python_folders,
)
from quantum_suite.services.sandbox.interface import SandboxCommand, SandboxRun
from quantum_suite.services.sandbox.running import Launch, OnLine, run_kept
from quantum_suite.services.sandbox.shell_limits import limited
from quantum_suite.services.sandbox.watch import Watch

FOLDER_PREFIX = "quantum-sandbox-"
"""How the temporary folders are called that stand in for `/tmp`."""

_END_SECONDS = 60.0


class BubblewrapSandbox:
    """Keeps a command in namespaces of its own.

    Guaranteed: it sees only the folders granted, the system's programs and libraries and its Python's, all but
    the writable ones read-only; a `/tmp` and a home of its own; no network; no process but its own; no variable
    of the suite's environment beyond PATH, language and time zone; no privileges, and none to be had. Everything
    it started ends with it, because its process namespace does, also when the suite is killed.

    Time, output, the size of a file and the memory of one process are limited by the system. The number of
    processes, the memory and the disk space of all of them are looked at twenty times a second at best, so that
    they may be exceeded for a moment before everything is ended: by some hundred processes when somebody forks
    as fast as he can.

    A program that a signal ended cannot be told from one that returned 128 and the signal's number, as shells do:
    both are taken for the signal.
    """

    isolation = Isolation.BUBBLEWRAP

    def __init__(self, program: str, *, folder: Path | None = None, may_nest: bool = False) -> None:
        """Use the bubblewrap at `program`; temporary folders are made below `folder`.

        `may_nest` says that this release cannot forbid further user namespaces (before 0.8).
        """
        self._program = program
        self._folder = folder if folder is not None else Path(tempfile.gettempdir())
        self._may_nest = may_nest

    async def run(self, command: SandboxCommand, on_stdout_line: OnLine | None = None) -> SandboxRun:
        """Run a command to its end, or to a limit; neither is an error. Cancelled, everything is ended first.

        Raises ProcessNotStarted when the program does not exist, ConfigurationError when a folder does not, or
        when the namespaces cannot be made.
        """
        cwd, writable, readable = checked_folders(command)
        async with AsyncExitStack() as stack:
            private = await stack.enter_async_context(held_folder(self._folder, FOLDER_PREFIX))
            for name in ("tmp", "tmp/home", "shm"):
                (private / name).mkdir(mode=0o700)
            env = sandbox_environment(command.env, Path("/tmp/home"), Path("/tmp"))  # noqa: S108 - a private one
            program = find_program(command.command, cwd, env)
            status = stack.enter_context(_Status())
            launch = Launch(
                command=limited(
                    [
                        self._program,
                        *self._namespaces(command.network, status.write_end),
                        *_mounts(private, cwd, writable, readable, program, network=command.network),
                        "--chdir",
                        str(cwd),
                        "--",
                        str(program),
                        *command.command[1:],
                    ],
                    command.limits,
                ),
                cwd=cwd,
                env=env,
                stdin=command.stdin,
                limits=command.limits,
                watched=[*writable, private],
                pass_fds=[status.write_end],
            )
            ended = await run_kept(launch, status, on_stdout_line)
        if ended.ending is None and not status.program_ended:
            raise _not_run(program, ended.returncode, ended.stderr)
        ended = dataclasses.replace(ended, returncode=_as_signal(ended.returncode))
        return account(ended, self.isolation, network=command.network)

    def _namespaces(self, network: bool, status: int) -> list[str]:
        options = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
        if not network:
            options.append("--unshare-net")
        if not self._may_nest:
            # Whoever may make namespaces may mount file systems in memory, which no limit here counts.
            options.append("--disable-userns")
        return [*options, "--cap-drop", "ALL", "--die-with-parent", "--json-status-fd", str(status)]


def _mounts(
    private: Path, cwd: Path, writable: Sequence[Path], readable: Sequence[Path], program: Path, *, network: bool
) -> list[str]:
    """Return the options that make the command's view of the file system."""
    options: list[str] = []
    for folder in SYSTEM_FOLDERS:
        path = Path(folder)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), folder]
        else:
            options += ["--ro-bind-try", folder, folder]
    for file in (*SYSTEM_FILES, *(NETWORK_FILES if network else ())):
        options += ["--ro-bind-try", file, file]
    options += ["--proc", "/proc", "--dev", "/dev"]
    options += ["--bind", str(private / "shm"), "/dev/shm"]  # noqa: S108 - a private one
    options += ["--bind", str(private / "tmp"), "/tmp"]  # noqa: S108 - a private one
    given = {*readable, *python_folders(), *program_folders(program)}
    given |= environments_in([cwd, *writable, *readable])
    if not _covered(cwd, [*writable, *given]):
        given.add(cwd)
    # From the outside in: what is granted inside another folder is mounted over it, and read-only if it says so.
    binds = {path: "--ro-bind-try" for path in given if not _covered(path, map(Path, SYSTEM_FOLDERS))}
    binds |= dict.fromkeys(writable, "--bind")
    for path in sorted(binds, key=lambda path: len(path.parts)):
        options += [binds[path], str(path), str(path)]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/"]


def _covered(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


class _Status:
    """Reads what bubblewrap tells of a sandbox: the process that everything in it ends with, and its end."""

    def __init__(self) -> None:
        self.write_end = -1
        self.program_ended = False
        self._read_end = -1
        self._content = b""
        self._init: int | None = None

    def __enter__(self) -> "_Status":
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        asyncio.get_running_loop().add_reader(self._read_end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_reading()
        self._close_write_end()
        if self._init is not None:
            os.close(self._init)

    async def end(self, process: ProcessGroup, watch: Watch | None) -> None:
        """End the namespace's first process: the kernel ends all others first, and bubblewrap goes when it has."""
        self._close_write_end()
        self._read()
        if self._init is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            with anyio.move_on_after(_END_SECONDS):
                await process.exited.wait()
        self._read()

    def _read(self) -> None:
        while self._read_end >= 0:
            try:
                data = os.read(self._read_end, 65_536)
            except BlockingIOError:
                return
            if not data:
                self._stop_reading()
                return
            self._content += data
            *lines, self._content = self._content.split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, document: dict[str, int]) -> None:
        if "child-pid" in document:
            with contextlib.suppress(ProcessLookupError):
                self._init = os.pidfd_open(document["child-pid"])
        self.program_ended |= "exit-code" in document

    def _stop_reading(self) -> None:
        if self._read_end >= 0:
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1

    def _close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


def _as_signal(returncode: int) -> int:
    """Return the status of a program as its parent would see it: bubblewrap reports signals the way shells do."""
    number = returncode - 128
    return -number if 0 < number < signal.NSIG else returncode


def _not_run(program: Path, returncode: int, stderr: bytes) -> ConfigurationError | ProcessNotStarted:
    """Return why a command never ran in its sandbox."""
    said = stderr.decode("utf-8", "replace").strip().removeprefix("bwrap: ")
    if said.startswith("execvp"):
        return ProcessNotStarted(
            f"{program} could not be started in the sandbox: {said}.",
            "Grant the folder that it and its interpreter are in as readable.",
            program=program.name,
        )
    return ConfigurationError(
        f"The sandbox could not be made (exit status {returncode}): {said}.",
        "Allow user namespaces, or let it run without bubblewrap.",
    )

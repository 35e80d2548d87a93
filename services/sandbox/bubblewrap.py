"""Running foreign code in namespaces of its own, by bubblewrap."""

import contextlib
import dataclasses
import os
import signal
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.process_group import ProcessNotStarted
from quantum_suite.services.sandbox.environment import sandbox_environment
from quantum_suite.services.sandbox.explaining import account
from quantum_suite.services.sandbox.following import OnLine
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
from quantum_suite.services.sandbox.running import Launch, run_kept
from quantum_suite.services.sandbox.supervision import Supervision

FOLDER_PREFIX = "quantum-sandbox-"
"""How the temporary folders are called that stand in for `/tmp`."""


class BubblewrapSandbox:
    """Keeps a command in namespaces of its own.

    Guaranteed: it sees only the folders granted, the system's programs and libraries and its Python's, all but
    the writable ones read-only; a `/tmp` and a home of its own; no network; no process but its own; no variable
    of the suite's environment beyond PATH, language and time zone; no privileges, and none to be had. Everything
    it started ends with it, because its process namespace does, also when the suite is killed.

    Time, output, the size of a file and the memory of one process are limited by the system. The number of
    processes is looked at some forty times a second, and bounded besides by `ProcessCeiling` or RLIMIT_NPROC where
    they hold; memory and disk space of all are looked at ten times a second at best. So they may be exceeded
    for a moment before everything is ended. Not counted are System V shared memory, and file systems in memory
    where `may_nest`.

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
            supervision = stack.enter_context(Supervision(command.limits))
            status = stack.enter_context(_Status())
            launch = Launch(
                command=supervision.supervised(
                    [
                        self._program,
                        *self._namespaces(command.network, status.write_end),
                        *_mounts(private, cwd, writable, readable, program, network=command.network),
                        "--chdir",
                        str(cwd),
                        "--",
                        str(program),
                        *command.command[1:],
                    ]
                ),
                cwd=cwd,
                env=env,
                stdin=command.stdin,
                limits=command.limits,
                watched=[*writable, private],
                pass_fds=[status.write_end, supervision.report_fd],
            )
            ended = supervision.judged(await run_kept(launch, supervision, on_stdout_line), program)
            program_ended = status.tells_of_the_end()
        if ended.ending is None and not program_ended:
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
    # A link in a granted folder is seen with it, and where it leads is granted by its real path.
    real = [path for path in (*given, *writable) if path == path.resolve()]
    binds = {
        path: "--ro-bind-try"
        for path in given
        if not _covered(path, map(Path, SYSTEM_FOLDERS)) and (path in real or not _covered(path, real))
    }
    binds |= dict.fromkeys(writable, "--bind")
    for path in sorted(binds, key=lambda path: len(path.parts)):
        options += [binds[path], str(path), str(path)]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/"]


def _covered(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


class _Status:
    """A pipe on which bubblewrap tells of a sandbox."""

    def __init__(self) -> None:
        self.write_end = -1
        self._read_end = -1

    def __enter__(self) -> Self:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read_end)
        os.close(self.write_end)

    def tells_of_the_end(self) -> bool:
        """Whether the program ran and ended, rather than that its sandbox could not be made."""
        with contextlib.suppress(BlockingIOError):
            return b'"exit-code"' in os.read(self._read_end, 65_536)
        return False


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

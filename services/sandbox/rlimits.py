"""Running foreign code under resource limits alone, where namespaces cannot be had."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.sandbox.environment import sandbox_environment
from quantum_suite.services.sandbox.explaining import account
from quantum_suite.services.sandbox.following import OnLine
from quantum_suite.services.sandbox.grants import checked_folders, find_program
from quantum_suite.services.sandbox.interface import SandboxCommand, SandboxRun
from quantum_suite.services.sandbox.running import Launch, run_kept
from quantum_suite.services.sandbox.supervision import Supervision

FOLDER_PREFIX = "quantum-sandbox-"
"""How the folders for temporary files are called."""


class RlimitSandbox:
    """Runs a command as the same user, under limits.

    Guaranteed on Linux: limits on time, output, the size of a file and the memory of one process; an environment
    with nothing of the suite's; temporary files and a home of its own, removed afterwards; the number of
    processes, memory and disk space of all are looked at, and everything is ended when they
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
        async with AsyncExitStack() as stack:
            private = await stack.enter_async_context(held_folder(self._folder, FOLDER_PREFIX))
            (private / "home").mkdir(mode=0o700)
            env = sandbox_environment(command.env, private / "home", private)
            program = find_program(command.command, cwd, env)
            supervision = stack.enter_context(Supervision(command.limits))
            launch = Launch(
                command=supervision.supervised([str(program), *command.command[1:]]),
                cwd=cwd,
                env=env | supervision.mark,
                stdin=command.stdin,
                limits=command.limits,
                watched=[*writable, private],
                pass_fds=[supervision.report_fd],
            )
            ended = supervision.judged(await run_kept(launch, supervision, on_stdout_line), program)
        return account(ended, self.isolation, network=True)

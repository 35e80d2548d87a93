"""Choosing how foreign code is kept apart on this machine."""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio

from quantum_suite.services.held_folder import sweep
from quantum_suite.services.process import ProcessError, run
from quantum_suite.services.sandbox.bubblewrap import FOLDER_PREFIX, BubblewrapSandbox
from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.sandbox.rlimits import RlimitSandbox

INSTALL_COMMAND = "apt-get install bubblewrap"
"""What installs bubblewrap on Debian and its kin."""

_TRIAL = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
)
_TRIAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SandboxChoice:
    """A sandbox, and why it is this one."""

    sandbox: Sandbox
    reason: str
    """One sentence; names what would make it stricter, where something would."""


async def best_sandbox(*, folder: Path | None = None) -> SandboxChoice:
    """Return the strictest sandbox that works here, tried once: bubblewrap, else resource limits alone.

    Temporary folders are made below `folder`; those of dead processes are removed first.
    """
    folder = folder if folder is not None else Path(tempfile.gettempdir())
    await anyio.to_thread.run_sync(sweep, folder, FOLDER_PREFIX)
    limits_alone = RlimitSandbox(folder=folder)
    if sys.platform != "linux":
        return SandboxChoice(limits_alone, "Namespaces are a feature of Linux; there are resource limits alone.")
    program = shutil.which("bwrap")
    if program is None:
        return SandboxChoice(
            limits_alone, f"bubblewrap is not installed, so there are resource limits alone: `{INSTALL_COMMAND}`."
        )
    forbids_nesting = await _tried(program, "--disable-userns")
    if forbids_nesting is None:
        chosen = BubblewrapSandbox(program, folder=folder)
        return SandboxChoice(chosen, "bubblewrap is installed and works.")
    hindrance = await _tried(program)
    if hindrance is None:
        chosen = BubblewrapSandbox(program, folder=folder, may_nest=True)
        return SandboxChoice(
            chosen,
            "bubblewrap works, but cannot forbid user namespaces inside; release 0.8 can, if the kernel lets it.",
        )
    return SandboxChoice(
        limits_alone,
        f"bubblewrap is installed but does not work here, so there are resource limits alone: {hindrance}",
    )


async def _tried(program: str, *options: str) -> str | None:
    """Return why bubblewrap cannot make namespaces; None when it can."""
    try:
        completed = await run(
            [program, *_TRIAL, *options, "--", "/bin/sh", "-c", "exit 0"],
            timeout_seconds=_TRIAL_SECONDS,
            max_output_bytes=65_536,
        )
    except ProcessError as error:
        return error.message
    if completed.returncode == 0:
        return None
    return completed.stderr_tail.strip() or f"exit status {completed.returncode}"

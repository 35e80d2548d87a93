"""Starting the driver in the project's interpreter, in the sandbox, and hearing what it says."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.sandbox.interface import Limits, Sandbox, SandboxCommand, SandboxRun
from quantum_suite.services.testing.interpreters import called, readable_for

Heard = Callable[[dict[str, Any]], Awaitable[None]]

_PRINTED = 3000


class Driver:
    """The driver for one interpreter."""

    def __init__(self, sandbox: Sandbox, python: Path) -> None:
        self._sandbox = sandbox
        self._python = python
        self._program = Path(str(files("quantum_suite.services.mutation.driver") / "start.py")).resolve()

    async def run(
        self, request: dict[str, Any], *, root: Path, folder: Path, limits: Limits, seconds: float, heard: Heard
    ) -> SandboxRun:
        """Run it to its end; `heard` gets every event. The project's folder and `folder` are writable.

        Raises EngineMissing when the interpreter has no pytest, and EngineError when it is too old.
        """
        unfit: list[dict[str, Any]] = []

        async def line(data: bytes) -> None:
            if not data.startswith(b"{"):
                return
            try:
                event = json.loads(data)
            except ValueError:
                return
            if event.get("event") in ("missing", "too old"):
                unfit.append(event)
            await heard(event)

        done = await self._sandbox.run(
            SandboxCommand(
                command=[str(self._python), str(self._program)],
                cwd=root,
                writable=[root, folder],
                readable=[*readable_for(self._python), self._program.parent],
                stdin=json.dumps({**request, "root": str(root), "folder": str(folder)}).encode(),
                limits=replace(limits, seconds=seconds),
            ),
            on_stdout_line=line,
        )
        for event in unfit:
            raise _unfit(event)
        return done


def _unfit(event: Mapping[str, Any]) -> EngineError:
    python = called(Path(event["python"]))
    if event["event"] == "missing":
        command = f"{python} -m pip install pytest"
        message, hint = f"pytest is not installed for {python}.", f"Install it with `{command}`."
        return EngineMissing(message, hint, engine="pytest", command=command)
    oldest = ".".join(map(str, event["oldest"]))
    return EngineError(
        f"{python} is Python {event['version']}; mutants are made with Python {oldest} or newer.",
        "Give the project an environment (.venv) with a newer Python.",
        engine="mutation driver",
    )


def failed(done: SandboxRun, what: str) -> EngineError:
    """Return the error for a driver that ended without having said so."""
    printed = done.stderr.decode("utf-8", "replace")[-_PRINTED:]
    return EngineError(
        f"{what} ended before it was done: {done.explanation}",
        "Give it more time or memory, or fewer files and tests.",
        engine="mutation driver",
        printed=printed,
    )

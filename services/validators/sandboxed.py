"""Runs the engines and workers of checks in the sandbox."""

import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from quantum_suite.services.code_scanning.mask_snippets import mask_prose
from quantum_suite.services.process import ProcessError
from quantum_suite.services.sandbox.interface import MEBIBYTE, Limits, Sandbox, SandboxCommand, SandboxRun
from quantum_suite.services.testing.interpreters import readable_for
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import shown_path

LIMITS = Limits(seconds=60.0, memory_bytes=1536 * MEBIBYTE, processes=64, output_bytes=16 * MEBIBYTE)
"""What one engine may use for one look at a change."""
_PRINTED_CHARACTERS = 600


class CheckFailed(Exception):
    """An engine gave no answer: the reason is a sentence for the report."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where checks run their programs."""

    sandbox: Sandbox
    limits: Limits = LIMITS

    async def run(
        self,
        command: Sequence[str],
        cwd: Path,
        *,
        tree: ChangedTree,
        python: Path | None = None,
        stdin: bytes | None = None,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        env: dict[str, str] | None = None,
        seconds: float | None = None,
    ) -> SandboxRun:
        """Run a program to its end or a limit. Raises CheckFailed when it cannot be started."""
        limits = self.limits if seconds is None else replace(self.limits, seconds=seconds)
        folders = [*tree.scratch.read_only, *readable, *(readable_for(python) if python is not None else ())]
        try:
            return await self.sandbox.run(
                SandboxCommand(
                    command=command,
                    cwd=cwd,
                    writable=writable,
                    readable=[folder for folder in folders if folder.exists()],
                    env=env or {},
                    stdin=stdin,
                    limits=limits,
                )
            )
        except ProcessError as error:
            raise CheckFailed(str(error)) from error

    async def ask(self, worker: str, request: bytes, tree: ChangedTree, *, own: bool = False) -> SandboxRun:
        """Run a program of `workers/` over the changed tree: by the project's Python, or by this one (`own`)."""
        python = Path(sys.executable) if own or tree.python is None else tree.python
        start = _start()
        return await self.run(
            [str(python), "-I", "-B", str(start), worker],
            tree.root,
            tree=tree,
            python=python,
            stdin=request,
            readable=[start.parent],
        )

    async def ask_whole(self, worker: str, request: dict[str, Any], tree: ChangedTree) -> tuple[Any, SandboxRun]:
        """Return the one JSON object a worker answers with. Raises CheckFailed when it gives none."""
        run = await self.ask(worker, orjson.dumps(request), tree)
        if run.ended_by != "itself" or run.returncode != 0:
            raise CheckFailed(failure_of(run))
        try:
            return orjson.loads(run.stdout), run
        except orjson.JSONDecodeError as error:
            raise CheckFailed(f"It printed no answer. {failure_of(run)}") from error


def _start() -> Path:
    """Return the program that workers are started by; its folder is all of the suite that they can read."""
    return Path(str(files("quantum_suite.services.validators.workers") / "start.py")).resolve()


def failure_of(run: SandboxRun) -> str:
    """Return how a run failed, with the end of what it printed."""
    printed = (run.stderr.strip() or run.stdout.strip())[-_PRINTED_CHARACTERS:].decode("utf-8", "replace")
    return run.explanation.rstrip(".") + (f". It printed: {mask_prose(printed)}" if printed else ".")


def encoded(content: bytes | None) -> str | None:
    """Return content as a worker takes it."""
    return None if content is None else base64.b64encode(content).decode("ascii")


def changed_python(tree: ChangedTree) -> list[dict[str, Any]]:
    """Return the changed Python files as the workers take them, those too large to be looked at left out."""
    return [
        {"path": shown_path(one.path), "after": encoded(one.after), "before": encoded(one.before)}
        for one in tree.change.files
        if is_python(one.path)
        and len(one.after or b"") <= MOST_FILE_BYTES
        and len(one.before or b"") <= MOST_FILE_BYTES
    ]


MOST_FILE_BYTES = 2 * MEBIBYTE
"""Files larger than this are data, or an attack on parsers; the syntax gate says so."""


def is_python(path: str) -> bool:
    """Whether a path is Python source."""
    return path.endswith((".py", ".pyi", ".pyw"))

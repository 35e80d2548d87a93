"""The imports gate: does what is imported exist, in the project or its environment, and does it go in circles."""

import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from quantum_suite.core.verdicts import GateReport, Problem
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import Found, not_assessed, problem, report
from quantum_suite.services.validators.sandboxed import Bench, CheckFailed, changed_python

GATE = "imports"
_MOST_CIRCLES = 5
_IMPORT_SECONDS = 20.0
_IN_PART = b"partially initialized module"
_IMPORT_BY_NAME = "import importlib, sys; sys.path[:0] = sys.argv[2:]; importlib.import_module(sys.argv[1])"


class ImportsValidator:
    """Checks what the changed Python files import, and what other files import from them."""

    gate = GATE

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Say which imports lead nowhere; a new circle blocks where importing the module really fails by it."""
        files = changed_python(tree)
        if not files:
            return report(GATE, (), passed="No Python file changed.")
        request = {"files": files, "environment": tree.python is not None}
        try:
            answer, run = await self._bench.ask_whole("python_imports", request, tree)
        except CheckFailed as error:
            return not_assessed(GATE, str(error))
        problems = [_problem(row) for row in answer["problems"]]
        for circle in answer["circles"][:_MOST_CIRCLES]:
            problems.append(await self._circle(circle, tree))
        return report(
            GATE,
            problems,
            passed=f"What {len(files)} changed Python file{'s' if len(files) != 1 else ''} import exists.",
            isolation=run.isolation,
            unassessed=[no_environment(answer["unchecked"])] if answer["unchecked"] else [],
        )

    async def _circle(self, circle: Mapping[str, Any], tree: ChangedTree) -> Problem:
        way = " -> ".join(circle["way"])
        fails = await self._fails(circle["path"], tree)
        message = f"circular import: {way}" + (
            "; importing it fails on a partially initialized module" if fails else ""
        )
        found = Found(circle["path"], "circular-import", message, circle["line"], circle["column"], blocking=fails)
        return problem(found)

    async def _fails(self, path: str, tree: ChangedTree) -> bool:
        """Whether importing a module of the tree in a fresh process meets a half-imported one."""
        parts = PurePosixPath(path).with_suffix("").parts
        inside = parts[1:] if parts[0] in ("src", "lib") else parts
        name = ".".join(inside[:-1] if inside[-1] == "__init__" else inside)
        if not name:
            return False
        python = tree.python or Path(sys.executable)
        roots = [str(tree.root), str(tree.root / "src"), str(tree.root / "lib")]
        try:
            run = await self._bench.run(
                [str(python), "-I", "-B", "-c", _IMPORT_BY_NAME, name, *roots],
                tree.root,
                tree=tree,
                python=python,
                seconds=_IMPORT_SECONDS,
            )
        except CheckFailed:
            return False
        return run.returncode != 0 and _IN_PART in run.stderr


def no_environment(modules: list[str]) -> str:
    """Return what to say of modules that only the project's environment could tell of."""
    named = ", ".join(modules[:8]) + (", ..." if len(modules) > 8 else "")
    return (
        f"{named}: the project has no environment here to look them up in; make one with "
        "python -m venv .venv && .venv/bin/pip install -e ."
    )


def _problem(row: Mapping[str, Any]) -> Problem:
    found = Found(
        row["path"],
        row["code"],
        row["message"],
        row["line"],
        row["column"],
        end_column=row["end_column"],
        suggestion=row.get("suggestion"),
    )
    return problem(found, introduced=not row.get("known", False))

"""Ruff, run over two states of a file under the project's own configuration: the gates lint and format."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import orjson

from quantum_suite.core.verdicts import GateReport, Isolation
from quantum_suite.services.code_scanning.locate_program import Program, locate_program
from quantum_suite.services.patches.interface import FileChange
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import (
    Found,
    not_assessed,
    report,
    shown_path,
    split_introduced,
)
from quantum_suite.services.validators.sandboxed import (
    MOST_FILE_BYTES,
    Bench,
    CheckFailed,
    failure_of,
    is_python,
)

INSTALL = "pip install ruff"
_AT_ONCE = 2
_SECONDS = 30.0
_OWN_FILES = ("ruff.toml", ".ruff.toml")
_CERTAIN = ("E9", "F63", "F7", "F82", "F81", "F50", "F52", "F60", "F62")
"""What is a mistake whatever a project's taste: used where it has no configuration of its own."""
_MISSES_SYNTAX = "invalid-syntax"


class LintValidator:
    """Checks the changed Python files by the project's rules for ruff."""

    gate = "lint"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Lint both states of each file; only what the change brings blocks.

        Without a configuration of the project's, only rules that find mistakes block; the rest is advice.
        """
        ruff = locate_program("ruff", "ruff")
        if ruff is None:
            return not_assessed(self.gate, "ruff is not installed.", install_command=INSTALL)
        files = _python_files(tree)
        if not files:
            return report(self.gate, (), passed="No Python file changed.")
        configured = await anyio.to_thread.run_sync(lambda: bool(ruff_settings(tree.root)))
        after: list[Found] = []
        before: list[Found] = []
        isolation = Isolation.NOT_NEEDED
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        failures: list[str] = []

        async def lint(one: FileChange, content: bytes, into: list[Found]) -> None:
            nonlocal isolation
            async with limiter:
                try:
                    rows, isolation = await self._rows(ruff, tree, one.path, content)
                except CheckFailed as error:
                    failures.append(str(error))
                    return
                into += [_found(one.path, row, configured=configured) for row in rows]

        async with anyio.create_task_group() as group:
            for one in files:
                if one.after is not None:
                    group.start_soon(lint, one, one.after, after)
                if one.before is not None:
                    group.start_soon(lint, one, one.before, before)
        engine = f"ruff {ruff.distribution_version or ''}".strip()
        if failures:
            return not_assessed(self.gate, failures[0], engine=engine, isolation=isolation)
        rules = "by the project's rules" if configured else "by the rules that find mistakes"
        return report(
            self.gate,
            split_introduced(after, before),
            passed=f"{len(files)} changed Python file{'s' if len(files) != 1 else ''} linted {rules}.",
            engine=engine,
            isolation=isolation,
        )

    async def _rows(
        self, ruff: Program, tree: ChangedTree, path: str, content: bytes
    ) -> tuple[list[dict[str, Any]], Isolation]:
        arguments = ["check", "--no-cache", "--no-fix", "--exit-zero", "--quiet", "--output-format=json"]
        # The name decides which configuration holds, and which files are excluded.
        command = [str(ruff.path), *arguments, "--force-exclude", "--stdin-filename", shown_path(path), "-"]
        run = await self._bench.run(command, tree.root, tree=tree, stdin=content, seconds=_SECONDS)
        if run.ended_by != "itself" or run.returncode != 0:
            raise CheckFailed(f"ruff gave no answer. {failure_of(run)}")
        return (orjson.loads(run.stdout) if run.stdout.strip() else []), run.isolation


class FormatValidator:
    """Checks the layout of the changed Python files: advice, unless the project configures ruff's formatter."""

    gate = "format"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Say where the formatter would write something else, in files it had nothing to say about before."""
        ruff = locate_program("ruff", "ruff")
        if ruff is None:
            return not_assessed(self.gate, "ruff is not installed.", install_command=INSTALL)
        settings, black = await anyio.to_thread.run_sync(lambda: (ruff_settings(tree.root), uses_black(tree.root)))
        blocking = "format" in settings and not black
        found: list[Found] = []
        isolation = Isolation.NOT_NEEDED
        files = _python_files(tree)
        try:
            for one in files:
                if one.after is None:
                    continue
                line, isolation = await self._first_difference(ruff, tree, one.path, one.after)
                if line is None:
                    continue
                if one.before is not None:
                    earlier, _ = await self._first_difference(ruff, tree, one.path, one.before)
                    if earlier is not None:
                        continue
                message = "it is not laid out as the formatter would"
                suggestion = f"ruff format {one.path}"
                found.append(
                    Found(one.path, "unformatted", message, line, suggestion=suggestion, blocking=blocking)
                )
        except CheckFailed as error:
            return not_assessed(self.gate, str(error), engine="ruff", isolation=isolation)
        return report(
            self.gate,
            split_introduced(found, ()),
            passed="The layout is the formatter's, or was not before." if files else "No Python file changed.",
            engine=f"ruff {ruff.distribution_version or ''}".strip(),
            isolation=isolation,
        )

    async def _first_difference(
        self, ruff: Program, tree: ChangedTree, path: str, content: bytes
    ) -> tuple[int | None, Isolation]:
        command = [str(ruff.path), "format", "--diff", "--no-cache", "--quiet", "--force-exclude"]
        run = await self._bench.run(
            [*command, "--stdin-filename", shown_path(path), "-"],
            tree.root,
            tree=tree,
            stdin=content,
            seconds=_SECONDS,
        )
        if run.ended_by != "itself":
            raise CheckFailed(f"ruff gave no answer. {failure_of(run)}")
        if run.returncode == 2:
            # Bad syntax or a bad configuration: other gates name the first, ruff the second.
            if b"parse" in run.stderr:
                return None, run.isolation
            raise CheckFailed(f"ruff gave no answer. {failure_of(run)}")
        return _first_hunk(run.stdout), run.isolation


def ruff_settings(root: Path) -> Mapping[str, Any]:
    """Return the project's settings for ruff, empty where it has none or they cannot be read."""
    for name in _OWN_FILES:
        settings = read_toml(root / name)
        if settings:
            return settings
    found: Any = read_toml(root / "pyproject.toml").get("tool", {})
    settings = found.get("ruff", {}) if isinstance(found, dict) else {}
    return settings if isinstance(settings, dict) else {}


def uses_black(root: Path) -> bool:
    """Whether the project configures black, whose layout is not ruff's to judge."""
    tools: Any = read_toml(root / "pyproject.toml").get("tool", {})
    return isinstance(tools, dict) and "black" in tools


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds, empty where it cannot be read."""
    try:
        if path.is_symlink() or path.stat().st_size > MOST_FILE_BYTES:
            return {}
        return tomllib.loads(path.read_text("utf-8", "replace"))
    except (OSError, tomllib.TOMLDecodeError, RecursionError):
        return {}


def _python_files(tree: ChangedTree) -> list[FileChange]:
    return [
        one
        for one in tree.change.files
        if is_python(one.path) and one.after is not None and len(one.after) <= MOST_FILE_BYTES
    ]


def _found(path: str, row: Mapping[str, Any], *, configured: bool) -> Found:
    code = row["code"] or _MISSES_SYNTAX
    fix = (row.get("fix") or {}).get("message")
    return Found(
        path=path,
        code=code,
        message=row["message"],
        line=row["location"]["row"],
        column=row["location"]["column"],
        end_line=row["end_location"]["row"],
        end_column=row["end_location"]["column"],
        suggestion=fix,
        blocking=configured or code.startswith(_CERTAIN) or code == _MISSES_SYNTAX,
    )


def _first_hunk(diff: bytes) -> int | None:
    """Return the first line a unified diff changes, in the old version."""
    position: int | None = None
    for line in _lines(diff):
        if line.startswith("@@"):
            position = int(line.split("-", 1)[1].split(" ", 1)[0].split(",", 1)[0])
        elif position is not None:
            if line.startswith(("-", "+")):
                return position
            position += 1
    return None


def _lines(data: bytes) -> Iterable[str]:
    return data.decode("utf-8", "replace").splitlines()

"""Python's types by mypy: the project's own where its environment has it, else the suite's."""

import re
import sys
import tempfile
from collections.abc import Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.sandbox.interface import SandboxRun
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import (
    Found,
    not_assessed,
    report,
    shown_path,
    split_introduced,
)
from quantum_suite.services.validators.ruff import read_toml
from quantum_suite.services.validators.sandboxed import Bench, CheckFailed, failure_of, is_python

INSTALL = "pip install 'quantum-suite[types]'"
SECONDS = 180.0
_LINE = re.compile(r"^(?P<path>.+?):(?P<line>\d+):(?:(?P<column>\d+):)? (?P<kind>error|note): (?P<text>.*)$")
_CODE = re.compile(r"^(?P<message>.*?)\s+\[(?P<code>[a-z][a-z0-9-]*)\]$")
_OPTIONS = (
    "--no-error-summary",
    "--no-pretty",
    "--show-column-numbers",
    "--show-error-codes",
    "--hide-error-context",
    "--no-color-output",
)
_IMPORTS = (
    rb"^\s*(?:from\s+[\w.]*\b(?:%s)\s+import|import\s+[\w., ]*\b(?:%s)\b|"
    rb"from\s+[\w.]+\s+import\s+[^\n]*\b(?:%s)\b)"
)
_OURS_TO_SAY = frozenset({"syntax", "import-not-found", "import-untyped", "import"})
"""Said by the gates syntax and imports, or of packages without types, which no change is to blame for."""
_FOUND_TWICE = b"Source file found twice"
_MOST_IMPORTERS = 40
_MOST_SEARCHED = 5_000
_MOST_SEARCHED_BYTES = 500_000


@dataclass(frozen=True, slots=True)
class MypySettings:
    """What the project says of mypy."""

    configured: bool
    names_files: bool
    """Whether the configuration says what is to be checked."""


class MypyChecker:
    """Type-checks the changed Python files, and those that import them."""

    name = "mypy"

    def __init__(self, bench: Bench, folder: Path | None = None) -> None:
        self._bench = bench
        self._folder = folder if folder is not None else Path(tempfile.gettempdir())
        self._found: dict[Path | None, tuple[list[str], str]] = {}

    def concerns(self, tree: ChangedTree) -> bool:
        """Whether Python is left after the change."""
        return any(is_python(one.path) and one.after is not None for one in tree.change.files)

    async def check(self, tree: ChangedTree) -> GateReport:
        """Check the changed tree, and the original where there is something to compare.

        Without a configuration of the project's, what is found is advice: it never asked for types.
        """
        settings = await anyio.to_thread.run_sync(mypy_settings, tree.root)
        files = [one for one in tree.change.files if is_python(one.path) and one.after is not None]
        # A name that is no UTF-8 is no module's.
        changed = [one.path for one in files if shown_path(one.path) == one.path]
        targets: Sequence[str] = ()
        if not settings.names_files:
            importers = await anyio.to_thread.run_sync(find_importers, tree.root, changed)
            targets = [*changed, *importers]
            if not targets:
                return report("types", (), passed="No changed file has a name that mypy takes.")
        command, version = await self._mypy(tree)
        if command is None:
            return not_assessed("types", "mypy is not installed.", install_command=INSTALL)
        async with held_folder(self._folder, "mypy-") as cache:
            try:
                run = await self._run(command, tree.root, targets, cache, tree)
                after = _found(run, blocking=settings.configured)
                before: list[Found] = []
                if after:
                    original = await tree.original.root()
                    there = [path for path in targets if (original / path).is_file()]
                    if there or not targets:
                        earlier = await self._run(command, original, there, cache, tree)
                        before = _found(earlier, blocking=True)
            except CheckFailed as error:
                return not_assessed("types", str(error), engine=version)
        return report(
            "types",
            split_introduced(after, before),
            passed="mypy finds no new error." if settings.configured else "mypy ran by its defaults, for advice.",
            engine=version,
            isolation=run.isolation,
            seconds=run.seconds,
        )

    async def _mypy(self, tree: ChangedTree) -> tuple[list[str] | None, str | None]:
        """Return the command of the project's mypy, else of ours, with its version; asked for once."""
        if tree.python in self._found:
            return self._found[tree.python]
        pythons = [tree.python] if tree.python is not None else []
        for python in (*pythons, Path(sys.executable)):
            command = [str(python), "-I", "-m", "mypy"]
            try:
                run = await self._bench.run([*command, "--version"], tree.root, tree=tree, python=python)
            except CheckFailed:
                continue
            if run.returncode == 0 and run.ended_by == "itself":
                version = " ".join(run.stdout.decode("utf-8", "replace").split()[:2])
                if python != tree.python and tree.python is not None:
                    command += ["--python-executable", str(tree.python)]
                self._found[tree.python] = command, version
                return command, version
        return None, None

    async def _run(
        self, command: Sequence[str], root: Path, targets: Sequence[str], cache: Path, tree: ChangedTree
    ) -> SandboxRun:
        run = await self._run_once(command, root, targets, cache, tree)
        if run.returncode == 2 and _FOUND_TWICE in run.stdout:
            # Folders without __init__.py: names are then made from the top of the project.
            run = await self._run_once([*command, "--explicit-package-bases"], root, targets, cache, tree)
        # 0: clean, 1: errors found, 2: it could not work (bad configuration, bad syntax).
        if run.ended_by != "itself" or run.returncode not in (0, 1):
            raise CheckFailed(f"mypy gave no answer. {failure_of(run)}")
        return run

    async def _run_once(
        self, command: Sequence[str], root: Path, targets: Sequence[str], cache: Path, tree: ChangedTree
    ) -> SandboxRun:
        options = [*_OPTIONS, "--cache-dir", str(cache)]
        return await self._bench.run(
            [*command, *options, *(["--", *targets] if targets else [])],
            root,
            tree=tree,
            python=tree.python or Path(sys.executable),
            readable=[Path(sys.prefix)],
            writable=[cache],
            # Sources of a project that is not installed are found from its top.
            env={"MYPYPATH": "src"} if (root / "src").is_dir() and not targets else {},
            seconds=SECONDS,
        )


def mypy_settings(root: Path) -> MypySettings:
    """Return what a project's files say of mypy, in the order in which mypy itself looks."""
    for name, section in (("mypy.ini", "mypy"), (".mypy.ini", "mypy")):
        found = _ini(root / name, section)
        if found is not None:
            return _settings(found)
    tool = read_toml(root / "pyproject.toml").get("tool", {})
    if isinstance(tool, dict) and isinstance(tool.get("mypy"), dict):
        return _settings(tool["mypy"].keys())
    found = _ini(root / "setup.cfg", "mypy")
    return _settings(found) if found is not None else MypySettings(False, False)


def find_importers(root: Path, changed: Sequence[str]) -> list[str]:
    """Return files that import a changed module by its name, a bounded number: their calls may no longer fit."""
    names = {_module_name(path) for path in changed} - {""}
    if not names:
        return []
    one = b"|".join(re.escape(name).encode() for name in sorted(names))
    pattern = re.compile(_IMPORTS % (one, one, one), re.MULTILINE)
    found: list[str] = []
    known = set(changed)
    for searched, path in enumerate(root.rglob("*.py")):
        relative = path.relative_to(root)
        if searched >= _MOST_SEARCHED or len(found) >= _MOST_IMPORTERS:
            break
        if str(relative) in known or any(part in _NOT_SEARCHED for part in relative.parts) or path.is_symlink():
            continue
        try:
            with path.open("rb") as file:
                if pattern.search(file.read(_MOST_SEARCHED_BYTES)):
                    found.append(relative.as_posix())
        except OSError:
            continue
    return sorted(found)


_NOT_SEARCHED = frozenset({".venv", "venv", "node_modules", ".git", "build", "dist"})


def _module_name(path: str) -> str:
    name = PurePosixPath(path)
    return name.parent.name if name.stem == "__init__" else name.stem


def _ini(path: Path, section: str) -> Sequence[str] | None:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text("utf-8", "replace"))
    except (OSError, ConfigError):
        return None
    return list(parser[section]) if parser.has_section(section) else None


def _settings(keys: object) -> MypySettings:
    names = {str(key) for key in keys} if hasattr(keys, "__iter__") else set()
    return MypySettings(True, bool(names & {"files", "packages", "modules"}))


def _found(run: SandboxRun, *, blocking: bool) -> list[Found]:
    found: list[Found] = []
    for line in run.stdout.decode("utf-8", "replace").splitlines():
        match = _LINE.match(line)
        if match is None or match["kind"] != "error":
            continue
        coded = _CODE.match(match["text"])
        code, message = (coded["code"], coded["message"]) if coded else ("error", match["text"])
        if code not in _OURS_TO_SAY:
            column = int(match["column"]) if match["column"] else None
            path = PurePosixPath(match["path"]).as_posix()
            found.append(Found(path, code, message, int(match["line"]), column, blocking=blocking))
    return found

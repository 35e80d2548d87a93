"""TypeScript's types by the project's own compiler."""

import re
import shutil
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.sandbox.interface import SandboxRun
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import Found, not_assessed, report, split_introduced
from quantum_suite.services.validators.sandboxed import Bench, CheckFailed, failure_of

INSTALL = "npm install --save-dev typescript"
SECONDS = 180.0
_HEAP = 1024
_COMPILER = "node_modules/typescript/bin/tsc"
_SUFFIXES = (".ts", ".tsx", ".mts", ".cts")
_LINE = re.compile(r"^(?P<path>[^(]+)\((?P<line>\d+),(?P<column>\d+)\): error (?P<code>TS\d+): (?P<message>.*)$")
_WITHOUT_PLACE = re.compile(r"^error (?P<code>TS\d+): (?P<message>.*)$")


class TypeScriptChecker:
    """Runs `tsc --noEmit` over the project, before and after."""

    name = "tsc"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def concerns(self, tree: ChangedTree) -> bool:
        """Whether TypeScript is left after the change."""
        return any(one.path.endswith(_SUFFIXES) and one.after is not None for one in tree.change.files)

    async def check(self, tree: ChangedTree) -> GateReport:
        """Compile the project of the nearest `tsconfig.json`; without one, the changed files by tsc's defaults."""
        changed = [one.path for one in tree.change.files if one.path.endswith(_SUFFIXES) and one.after is not None]
        project = await anyio.to_thread.run_sync(_project_of, tree.root, changed[0])
        compiler = await anyio.to_thread.run_sync(_compiler_of, tree.root, project)
        node = shutil.which("node")
        if compiler is None or node is None:
            missing = (
                "TypeScript's compiler is not in the project" if compiler is None else "node is not installed"
            )
            command = INSTALL if compiler is None else "apt-get install nodejs"
            return not_assessed("types", f"{missing}.", install_command=command)
        configured = (tree.root / project / "tsconfig.json").is_file()
        what = ["-p", str(Path(project) / "tsconfig.json")] if configured else changed
        try:
            run = await self._run(node, compiler, tree.root, what, tree)
            after = _found(run)
            before: list[Found] = []
            if after:
                original = await tree.original.root()
                there = what if configured else [path for path in changed if (original / path).is_file()]
                before = _found(await self._run(node, compiler, original, there, tree)) if there else []
        except CheckFailed as error:
            return not_assessed("types", str(error), engine="tsc")
        return report(
            "types",
            split_introduced(after, before),
            passed="tsc finds no new error.",
            engine="tsc",
            isolation=run.isolation,
            seconds=run.seconds,
        )

    async def _run(self, node: str, compiler: str, root: Path, what: list[str], tree: ChangedTree) -> SandboxRun:
        run = await self._bench.run(
            [node, f"--max-old-space-size={_HEAP}", compiler, "--noEmit", "--pretty", "false", *what],
            root,
            tree=tree,
            seconds=SECONDS,
        )
        # 0: clean, 1 and 2: errors found.
        if run.ended_by != "itself" or run.returncode not in (0, 1, 2):
            raise CheckFailed(f"tsc gave no answer. {failure_of(run)}")
        return run


def _project_of(root: Path, path: str) -> str:
    """Return the folder of the nearest `tsconfig.json` above a file, the top where there is none."""
    for folder in Path(path).parents:
        if (root / folder / "tsconfig.json").is_file():
            return folder.as_posix()
    return "."


def _compiler_of(root: Path, project: str) -> str | None:
    for folder in (Path(project), *Path(project).parents):
        if (root / folder / _COMPILER).is_file():
            return (folder / _COMPILER).as_posix()
    return None


def _found(run: SandboxRun) -> list[Found]:
    found: list[Found] = []
    for line in run.stdout.decode("utf-8", "replace").splitlines():
        if match := _LINE.match(line):
            place = int(match["line"]), int(match["column"])
            found.append(Found(match["path"], match["code"], match["message"], *place))
        elif match := _WITHOUT_PLACE.match(line):
            found.append(Found("tsconfig.json", match["code"], match["message"]))
    return found

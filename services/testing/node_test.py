"""node:test, the framework that Node carries. Each test file runs in a sandbox of its own.

A file that spins for ever or ends its process costs the others nothing; its own tests that ended before are kept.
"""

import random
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.services.sandbox.interface import Sandbox, SandboxCommand, SandboxRun
from quantum_suite.services.testing.interface import FileCoverage, TestCase, TestRequest, TestRun
from quantum_suite.services.testing.javascript_coverage import merge_lines
from quantum_suite.services.testing.junit_xml import junit_xml
from quantum_suite.services.testing.node_programs import depends_on, find_node, package_of, readable_for_node
from quantum_suite.services.testing.python_runner import CHILD, Progress, text_tail
from quantum_suite.services.testing.run_account import RunAccount

# What `node --test` itself looks for.
_TEST_FILE = re.compile(r"(?:^|/)(?:[^/]*[._-]test|test-[^/]*|test)\.[cm]?[jt]s$|(?:^|/)test/.*\.[cm]?[jt]s$")
_NEVER = {"node_modules", "dist", "build", "coverage"}
_GRACE_SECONDS = 10.0


@dataclass(slots=True)
class _File:
    path: str
    account: RunAccount
    end: SandboxRun | None = None
    note: str = ""
    cases: dict[str, TestCase] = field(default_factory=dict)


class NodeTestRunner:
    """Runs node:test; see `Runner`. Only the order of files is shuffled: Node keeps the order within one."""

    name = "node"

    def __init__(self, sandbox: Sandbox, node: Path | None = None) -> None:
        self._sandbox = sandbox
        self._node = node

    def detect(self, root: Path) -> str | None:
        """Return why: the test script, or a test file that imports node:test."""
        scripts = package_of(root).get("scripts")
        if isinstance(scripts, dict) and "node --test" in str(scripts.get("test", "")):
            return "the test script in package.json"
        if any(depends_on(root, other) for other in ("vitest", "jest")):
            return None
        for path in _test_files(root):
            text = (root / path).read_text(encoding="utf-8", errors="replace")[:100_000]
            if "node:test" in text:
                return f"{path} imports node:test"
        return None

    async def run(self, request: TestRequest, progress: Progress | None = None) -> TestRun:
        """Run tests in the sandbox; see `Runner.run`."""
        started = time.monotonic()
        node = find_node(self._node)
        chosen = await anyio.to_thread.run_sync(_chosen, request)
        files = [_File(path, RunAccount(f"::{secrets.token_hex(16)}::")) for path in chosen]
        if request.order_seed is not None:
            random.Random(request.order_seed).shuffle(files)  # noqa: S311 - an order, not a secret
        waiting, send = iter(files), progress
        deadline = started + request.limits.seconds

        async def work() -> None:
            for file in waiting:
                if request.stop_at_first_failure and any(_bad(f) for f in files):
                    return
                seconds = deadline - time.monotonic()
                if seconds <= 1:
                    file.note = "was not run: the time for all tests was over"
                    continue
                await self._run_file(request, node, file, seconds)
                if send is not None:
                    done = sum(f.end is not None or bool(f.note) for f in files)
                    await send(done, len(files), f"{file.path} {'failed' if _bad(file) else 'ended'}")

        async with anyio.create_task_group() as group:
            for _ in range(max(1, request.processes)):
                group.start_soon(work)
        return self._result(request, files, time.monotonic() - started)

    async def _run_file(self, request: TestRequest, node: Path, file: _File, seconds: float) -> None:
        token = f"::{secrets.token_hex(16)}::"
        file.account = RunAccount(token)
        quiet = request.case_seconds + _GRACE_SECONDS
        with anyio.move_on_after(quiet) as scope:

            async def line(data: bytes) -> None:
                # A file that says nothing for longer than one test may take spins in one.
                scope.deadline = anyio.current_time() + quiet
                file.account.take(data)

            command = SandboxCommand(
                command=[str(node), *self._options(request, file), file.path],
                cwd=request.root,
                writable=[request.root],
                readable=[CHILD, *readable_for_node(request.root, node), *request.readable],
                env={
                    "QUANTUM_TESTING_TOKEN": token,
                    "QUANTUM_TESTING_ROOT": str(request.root),
                    "QUANTUM_TESTING_FILE": file.path,
                },
                limits=replace(request.limits, seconds=seconds),
            )
            file.end = await self._sandbox.run(command, line)
        if scope.cancelled_caught:
            file.note = f"said nothing for {quiet:g} seconds and was ended"
        elif file.account.status is None and file.end is not None:
            file.note = f"ended before its tests did. {file.end.explanation}"

    def _options(self, request: TestRequest, file: _File) -> list[str]:
        options = [
            f"--test-reporter={CHILD / 'quantum_testing_reporter.mjs'}",
            "--test-reporter-destination=stderr",
            # Timers that tests leave behind would hold up the end.
            "--test-force-exit",
            f"--test-timeout={int(request.case_seconds * 1000)}",
        ]
        if request.coverage or request.contexts:
            options.append("--experimental-test-coverage")
        names = [test.split(" > ")[1:] for test in request.select if test.startswith(f"{file.path} > ")]
        if file.path not in request.select:
            options += [f"--test-name-pattern=/^{re.escape(' '.join(parts))}$/" for parts in names]
        return [*options, *request.arguments]

    def _result(self, request: TestRequest, files: Sequence[_File], seconds: float) -> TestRun:
        cases = [case for file in files for case in _cases(file)]
        skip = set(request.skip)
        cases = [case for case in cases if case.id not in skip and _asked(request, case.id)]
        timeout = any(file.end is not None and file.end.ended_by == "timeout" for file in files)
        late = any("time for all tests" in file.note for file in files)
        notes = [f"{file.path} {file.note}".rstrip(".") for file in files if file.note]
        ends = [file.end for file in files if file.end is not None]
        if request.order_seed is not None:
            notes.append("files were shuffled; Node keeps the order of tests within one")
        notes += [ends[-1].explanation.rstrip(".")] if ends else []
        wanted = request.coverage or request.contexts
        coverage: tuple[FileCoverage, ...] = merge_lines(file.account.measured for file in files) if wanted else ()
        return TestRun(
            runner=self.name,
            runner_version=next((file.account.version for file in files if file.account.version), ""),
            cases=tuple(cases),
            ended="timeout" if timeout or late else "finished" if cases else "no_tests",
            isolation=self._sandbox.isolation,
            seconds=seconds,
            output_tail=text_tail(ends),
            coverage=coverage,
            junit_xml=junit_xml(self.name, cases, seconds),
            explanation="; ".join(notes) + ".",
            coverage_problem=_coverage_problem(request, coverage) if wanted else None,
        )


def _coverage_problem(request: TestRequest, coverage: Sequence[FileCoverage]) -> str | None:
    if not coverage:
        return "this Node measured nothing: node:test measures coverage from release 20 on"
    return "Node does not tell which test reached a line" if request.contexts else None


def _asked(request: TestRequest, test: str) -> bool:
    asked = request.select
    return not asked or any(
        test == name or test.startswith((f"{name} > ", f"{name.rstrip('/')}/")) for name in asked
    )


def _cases(file: _File) -> Iterator[TestCase]:
    yield from file.account.cases.values()
    running = file.account.running
    if not file.note:
        return
    if running is not None:
        yield replace(running, outcome="error", message=f"was the last to start; its file {file.note}")
    else:
        tail = text_tail([file.end] if file.end is not None else [])
        yield TestCase(file.path, "error", message=f"{file.path} {file.note}\n{tail}".strip(), path=file.path)


def _bad(file: _File) -> bool:
    return bool(file.note) or any(case.outcome in ("failed", "error") for case in file.account.cases.values())


def _test_files(root: Path) -> list[str]:
    found = []
    for folder, folders, names in root.walk() if hasattr(root, "walk") else _walk(root):
        folders[:] = sorted(name for name in folders if name not in _NEVER and not name.startswith("."))
        for name in sorted(names):
            path = (folder / name).relative_to(root).as_posix()
            if _TEST_FILE.search(path) and not path.endswith(".d.ts"):
                found.append(path)
    return found


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    import os  # Python 3.11 has no Path.walk

    for folder, folders, names in os.walk(root):
        yield Path(folder), folders, names


def _chosen(request: TestRequest) -> list[str]:
    files = _test_files(request.root)
    if not request.select:
        return files
    chosen: list[str] = []
    for name in request.select:
        path = name.split(" > ")[0].rstrip("/")
        below = [file for file in files if file == path or file.startswith(f"{path}/")]
        if not below and (request.root / path).is_file():
            below = [path]
        if not below:
            raise CallerError(
                f"There is no test file '{path}'.",
                "Name files below the root, or ids of a run.",
                argument="select",
            )
        chosen += [file for file in below if file not in chosen]
    return chosen

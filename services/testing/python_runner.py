"""What pytest and unittest have in common: processes that tell in lines how each test goes.

A test that ends its process (`os._exit`, a segmentation fault, a kill) or takes too long is an error of that test;
a new process goes on with the others.
"""

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from quantum_suite.core.errors import CallerError, EngineMissing
from quantum_suite.core.masking import mask_text
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.sandbox.interface import Sandbox, SandboxCommand, SandboxRun
from quantum_suite.services.testing.coverage_data import Measured, read_coverage
from quantum_suite.services.testing.interface import TestCase, TestRequest, TestRun
from quantum_suite.services.testing.interpreters import called, find_python, readable_for
from quantum_suite.services.testing.junit_xml import junit_xml
from quantum_suite.services.testing.run_account import RunAccount

Progress = Callable[[int, int, str], Awaitable[None]]
CHILD = Path(__file__).resolve().parent / "child"
"""Resolved: a sandbox shows real paths, and a checkout is reached through links."""
MOST_RESTARTS = 25
"""How often a process is started again after a test ended it; the tests left after that are not run."""
TAIL_CHARACTERS = 4_000
_LEAST_SECONDS = 1.0
_USAGE_ERROR = 4


async def _silent(done: int, total: int, message: str) -> None:
    """Progress that nobody asked for."""


@dataclass(slots=True)
class _Shard:
    """One part of the tests, and every process that worked on it."""

    number: int
    cases: dict[str, TestCase] = field(default_factory=dict)
    collected: tuple[str, ...] = ()
    problems: list[TestCase] = field(default_factory=list)
    accounts: list[RunAccount] = field(default_factory=list)
    ends: list[SandboxRun] = field(default_factory=list)
    coverage: list[Path] = field(default_factory=list)
    ended: Literal["finished", "timeout", "crashed"] = "finished"
    notes: list[str] = field(default_factory=list)


class PythonRunner:
    """Runs a program of `child/` over the tests."""

    def __init__(self, sandbox: Sandbox, name: str, program: str, work_dir: Path | None = None) -> None:
        self._sandbox = sandbox
        self._name = name
        self._program = program
        self._work_dir = work_dir

    async def run(self, request: TestRequest, progress: Progress | None = None) -> TestRun:
        """Run tests in the sandbox; see `Runner.run`."""
        started = time.monotonic()
        python = find_python(request.root, request.python)
        shards = [_Shard(number) for number in range(max(1, request.processes))]
        tell = _Told(shards, progress or _silent)
        async with self._work() as work:
            deadline = started + request.limits.seconds
            async with anyio.create_task_group() as group:
                for shard in shards:
                    group.start_soon(self._run_shard, request, python, shard, work, deadline, tell)
            self._refuse(request, python, shards)
            files = [file for shard in shards for file in shard.coverage]
            measured = await anyio.to_thread.run_sync(read_coverage, files)
        return self._result(request, shards, measured, time.monotonic() - started)

    @asynccontextmanager
    async def _work(self) -> AsyncIterator[Path]:
        work = await anyio.to_thread.run_sync(_work_folder, self._work_dir)
        try:
            yield work
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(work, ignore_errors=True))

    async def _run_shard(
        self, request: TestRequest, python: Path, shard: _Shard, work: Path, deadline: float, tell: "_Told"
    ) -> None:
        done: list[str] = []
        for attempt in range(MOST_RESTARTS + 1):
            seconds = deadline - time.monotonic()
            if seconds < _LEAST_SECONDS:
                shard.ended = "timeout"
                return
            folder = work / f"{shard.number}-{attempt}"
            account, end = await self._process(request, python, shard, folder, done, seconds, tell)
            kept = folder / "coverage.json"
            if kept.exists():
                shard.coverage.append(kept)
            if account.status is not None or account.missing or account.not_found:
                _note_left(request, shard, end)
                return
            culprit = self._blame(request, shard, account, end)
            if end.ended_by == "timeout":
                shard.ended = "timeout"
                return
            if culprit is None or request.stop_at_first_failure:
                shard.ended = "crashed"
                return
            done.append(culprit)
            if request.coverage and not kept.exists():
                # What was measured went with the process: the others run again, so that nothing seems unreached.
                shard.notes.append(f"tests were run a second time, because {culprit} took their coverage with it")
            else:
                done += [test for test in account.cases if test not in done]
            if all(test in done for test in shard.collected):
                return
        shard.ended = "crashed"
        shard.notes.append(f"{MOST_RESTARTS} tests ended their process; the others were not run")

    async def _process(
        self,
        request: TestRequest,
        python: Path,
        shard: _Shard,
        folder: Path,
        done: Sequence[str],
        seconds: float,
        tell: "_Told",
    ) -> tuple[RunAccount, SandboxRun]:
        token = f"::{secrets.token_hex(16)}::"
        account = RunAccount(token)
        shard.accounts.append(account)
        config, injected = await anyio.to_thread.run_sync(
            self._write_config, request, shard.number, folder, done, token
        )

        async def line(data: bytes) -> None:
            had = account.collected
            case = account.take(data)
            if had is None and account.collected is not None and not shard.collected:
                shard.collected = account.collected
            if case is not None:
                shard.cases[case.id] = case
                await tell.case(case)

        command = SandboxCommand(
            command=[str(python), "-X", "faulthandler", str(CHILD / self._program), str(config)],
            cwd=request.root,
            writable=[request.root, folder],
            readable=[CHILD, *readable_for(python), *injected, *request.readable],
            env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder / "tmp")},
            limits=replace(request.limits, seconds=seconds),
        )
        end = await self._sandbox.run(command, line)
        shard.ends.append(end)
        shard.problems = [*shard.problems, *(p for p in account.problems if p not in shard.problems)]
        return account, end

    def _write_config(
        self, request: TestRequest, number: int, folder: Path, done: Sequence[str], token: str
    ) -> tuple[Path, list[Path]]:
        folder.mkdir()
        (folder / "tmp").mkdir()
        measured = request.coverage or request.contexts
        injected = _offer_coverage(folder) if measured else []
        config: dict[str, Any] = {
            "token": token,
            "root": str(request.root),
            "work": str(folder),
            "select": list(request.select),
            "missing_ok": request.missing_ok,
            "skip": list(request.skip),
            "done": list(done),
            "order_seed": request.order_seed,
            "shard": number,
            "shards": max(1, request.processes),
            "stop": request.stop_at_first_failure,
            "arguments": list(request.arguments),
            "coverage": measured,
            "contexts": request.contexts,
            "coverage_path": str(folder / "injected") if injected else None,
            "case_seconds": request.case_seconds,
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path, injected

    def _blame(self, request: TestRequest, shard: _Shard, account: RunAccount, end: SandboxRun) -> str | None:
        """Say of the test that was running what became of it; returns its id."""
        running = account.running
        if running is None:
            shard.notes.append(f"the process ended outside any test: {end.explanation}")
            return None
        if account.slow is not None:
            message = (
                f"took longer than {request.case_seconds:g} seconds and was ended. It stood at:\n{account.slow}"
            )
        elif end.ended_by == "timeout":
            message = f"was running when the time for all tests was over: {end.explanation}"
        else:
            message = f"ended the process it ran in. {end.explanation}\n{text_tail([end])}"
        shard.cases[running.id] = replace(running, outcome="error", message=message.strip())
        shard.notes.append(f"{running.id} {message.splitlines()[0]}")
        return running.id

    def _refuse(self, request: TestRequest, python: Path, shards: Sequence[_Shard]) -> None:
        for account, end in ((a, e) for shard in shards for a, e in zip(shard.accounts, shard.ends, strict=True)):
            if account.missing:
                name = called(python)
                command = f"{name} -m pip install {account.missing}"
                message, hint = f"{self._name} is not installed for {name}.", f"Install it with `{command}`."
                raise EngineMissing(message, hint, engine=self._name, command=command)
            missing = ", ".join(account.not_found)
            if missing or (account.status == _USAGE_ERROR and not account.cases):
                raise CallerError(
                    f"{self._name} does not find {missing}."
                    if missing
                    else f"{self._name} refuses: {text_tail([end])}",
                    "Name files below the root, or ids as an earlier run gave them.",
                    argument="select",
                )

    def _result(
        self, request: TestRequest, shards: Sequence[_Shard], measured: Measured, seconds: float
    ) -> TestRun:
        cases: dict[str, TestCase] = {}
        for shard in shards:
            for test in shard.collected:
                cases[test] = shard.cases.get(test) or TestCase(test, "not_run", path=test.split("::")[0])
            cases.update(shard.cases)
        problems = {problem.id: problem for shard in shards for problem in shard.problems}
        every = (*problems.values(), *cases.values())
        ended = _ended(shards, bool(problems), bool(cases))
        accounts = [account for shard in shards for account in shard.accounts]
        ends = [end for shard in shards for end in shard.ends]
        wanted = request.coverage or request.contexts
        problem = next((a.coverage_problem for a in accounts if a.coverage_problem), None) if wanted else None
        return TestRun(
            runner=self._name,
            runner_version=next((account.version for account in accounts if account.version), ""),
            cases=every,
            ended=ended,
            isolation=ends[0].isolation if ends else Isolation.NOT_NEEDED,
            seconds=seconds,
            output_tail=text_tail(ends),
            coverage=measured.coverage,
            opened=measured.opened,
            far=measured.far,
            junit_xml=junit_xml(self._name, every, seconds),
            explanation=_explain(shards, ends, ended, problems),
            coverage_problem=problem or ("nothing was measured" if wanted and not measured.coverage else None),
        )


def _note_left(request: TestRequest, shard: _Shard, end: SandboxRun) -> None:
    """Say so when a process came to its end before all of its tests did."""
    left = [test for test in shard.collected if test not in shard.cases]
    if not left or request.stop_at_first_failure:
        return
    shard.ended = "crashed"
    inner = [line for line in end.stderr.decode("utf-8", "replace").splitlines() if "INTERNALERROR" in line]
    why = inner[-1].removeprefix("INTERNALERROR>").strip() if inner else "the runner was interrupted"
    shard.notes.append(f"{len(left)} tests were not run: {mask_text(why)}")


def _work_folder(parent: Path | None) -> Path:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(prefix="tests-", dir=parent)).resolve()


def _ended(
    shards: Sequence[_Shard], problems: bool, cases: bool
) -> Literal["finished", "timeout", "crashed", "no_tests", "collection_error"]:
    for how in ("timeout", "crashed"):
        if any(shard.ended == how for shard in shards):
            return "timeout" if how == "timeout" else "crashed"
    if problems:
        return "collection_error"
    return "finished" if cases else "no_tests"


def _explain(
    shards: Sequence[_Shard], ends: Sequence[SandboxRun], ended: str, problems: dict[str, TestCase]
) -> str:
    notes = [note for shard in shards for note in shard.notes]
    if problems:
        notes.append(f"could not be collected: {', '.join(sorted(problems)[:5])}")
    if ended == "no_tests":
        notes.append("no test was found")
    if ends:
        notes.append(ends[-1].explanation)
    return "; ".join(note.rstrip(".") for note in notes) + "."


def text_tail(ends: Sequence[SandboxRun]) -> str:
    """Return the end of what was printed beside the results, secrets masked."""
    text = "\n".join(end.stderr.decode("utf-8", "replace").strip() for end in ends if end.stderr.strip())
    return mask_text(text[-TAIL_CHARACTERS:])


def _offer_coverage(folder: Path) -> list[Path]:
    """Put our coverage.py where the child can take it, alone; returns what has to be readable for that.

    It serves an interpreter of the same version; for another its tracer does not load, and the child says so.
    """
    import coverage  # on first use: a run without coverage does not need it

    package = Path(coverage.__file__).parent
    (folder / "injected").mkdir()
    (folder / "injected" / "coverage").symlink_to(package)
    return [package]


class _Told:
    """Progress over all shards."""

    def __init__(self, shards: Sequence[_Shard], progress: Progress) -> None:
        self._shards = shards
        self._progress = progress

    async def case(self, case: TestCase) -> None:
        """Say that a test has ended."""
        done = sum(len(shard.cases) for shard in self._shards)
        total = max(done, sum(len(shard.collected) for shard in self._shards))
        await self._progress(done, total, f"{case.id} {case.outcome}")

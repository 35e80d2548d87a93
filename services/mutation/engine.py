"""Mutation testing for Python projects whose tests pytest can run.

`PythonMutationEngine(sandbox, folder)` has two calls. `run(request, progress)` mutates the sources below
`request.root`, judges every mutant (or a sample, or those on changed lines), has survivors and some of the killed
confirmed in fresh processes, and returns a `MutationReport`. `judge(request, mutants)` takes ids out of such a
report and returns which of them the tests in `request.tests` kill, each kill confirmed: what a new test is worth.

Both leave `request.root` as it was, but for files that tests add; give them a scratch copy all the same.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from quantum_suite.core.errors import CallerError
from quantum_suite.core.findings import Location, Region
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.mutation import scores
from quantum_suite.services.mutation.driving import Driver, failed
from quantum_suite.services.mutation.interface import (
    KillReport,
    Mutant,
    MutantResult,
    MutantVerdict,
    MutationReport,
    MutationRequest,
    Progress,
)
from quantum_suite.services.mutation.python_sources import sources
from quantum_suite.services.mutation.verifying import Verifier
from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.interpreters import find_python

FOLDER_PREFIX = "quantum-mutation-"
"""How the folders for temporary files are called."""

_JUDGING_SHARE = 0.75
_GRACE_SECONDS = 30.0


class _Account:
    """What the driver has said so far."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.generated = 0
        self.chosen = 0
        self.mutants: dict[str, Mutant] = {}
        self.pieces: dict[str, tuple[int, int]] = {}
        """Mutant id -> start and end of what it replaces, in bytes of the text in UTF-8."""
        self.results: dict[str, dict[str, Any]] = {}
        self.tests: list[dict[str, Any]] = []
        self.refused: dict[str, Any] | None = None
        self.stopped: str | None = None
        self.unreadable: list[str] = []
        self.done = False

    async def heard(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        kind = event["event"]
        if kind == "generated":
            self.generated, self.chosen = event["count"], event["chosen"]
        elif kind == "mutant":
            self.mutants[event["id"]] = _mutant(event)
            self.pieces[event["id"]] = (event["offsets"][0], event["offsets"][1])
        elif kind == "tests":
            self.tests = event["tests"]
        elif kind == "result":
            self.results[event["id"]] = event
            if self.progress is not None:
                await self.progress(len(self.results), self.chosen, f"{event['verdict']}: {event['id']}")
        elif kind == "refused":
            self.refused = event
        elif kind == "stopped":
            self.stopped = event["reason"]
        elif kind == "unreadable":
            self.unreadable.append(f"{event['path']}: {event['reason']}")
        elif kind == "done":
            self.done = True

    def outcome(self) -> dict[str, MutantResult]:
        """Return the verdicts by mutant id, as the driver gave them."""
        return {
            ident: MutantResult(
                self.mutants[ident],
                MutantVerdict(event["verdict"]),
                event.get("killed_by"),
                event.get("tests_run", 0),
            )
            for ident, event in self.results.items()
            if ident in self.mutants
        }


class PythonMutationEngine:
    """Runs the driver in the sandbox, and confirms what it says."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        """Make temporary folders below `folder`."""
        self._sandbox = sandbox
        self._folder = folder

    async def run(self, request: MutationRequest, progress: Progress | None = None) -> MutationReport:
        """Mutate and judge. `progress` is told of every verdict, then of every confirmation.

        Raises CallerError when there is nothing to mutate, no test, or the tests do not pass unmutated;
        EngineMissing when the project's interpreter has no pytest; EngineError when the driver dies.
        """
        started = time.monotonic()
        async with held_folder(self._folder, FOLDER_PREFIX) as folder:
            account, isolation = await self._drive(request, folder, None, progress, _JUDGING_SHARE)
            results = account.outcome()
            left = request.limits.seconds - (time.monotonic() - started)
            verifier = Verifier(self._driver(request), request, account.tests, folder)
            verified = await verifier.confirm(results, account.pieces, account.results, left, progress)
        ordered = tuple(verified.results[ident] for ident in account.mutants if ident in verified.results)
        noticed, counted = scores.counts(ordered)
        sampled = account.chosen < account.generated
        return MutationReport(
            results=ordered,
            generated=account.generated,
            score=scores.score(ordered),
            interval=scores.wilson(noticed, counted) if sampled else None,
            disagreements=tuple(verified.disagreements),
            stopped_early=account.stopped or verified.stopped or _unread(account.unreadable),
            isolation=isolation,
            seconds=time.monotonic() - started,
        )

    async def judge(self, request: MutationRequest, mutants: Sequence[str]) -> KillReport:
        """Return which of `mutants` the tests in `request.tests` kill. Raises as `run`."""
        started = time.monotonic()
        if not request.tests:
            raise CallerError("No tests were named.", "Name the tests to be judged.", argument="tests")
        async with held_folder(self._folder, FOLDER_PREFIX) as folder:
            account, isolation = await self._drive(request, folder, mutants, None, _JUDGING_SHARE)
            results = account.outcome()
            left = request.limits.seconds - (time.monotonic() - started)
            verifier = Verifier(self._driver(request), request, account.tests, folder)
            killed = await verifier.kills(results, account.pieces, left)
        judged = set(results) & set(account.mutants)
        return KillReport(
            killed=killed,
            survived=tuple(ident for ident in mutants if ident in judged and ident not in killed),
            unknown=tuple(ident for ident in mutants if ident not in account.mutants),
            not_judged=tuple(ident for ident in mutants if ident in account.mutants and ident not in judged),
            isolation=isolation,
            seconds=time.monotonic() - started,
        )

    def _driver(self, request: MutationRequest) -> Driver:
        return Driver(self._sandbox, find_python(request.root, request.python))

    async def _drive(
        self,
        request: MutationRequest,
        folder: Path,
        only: Sequence[str] | None,
        progress: Progress | None,
        share: float,
    ) -> tuple[_Account, Isolation]:
        """Have the driver judge; returns what it said, and how it was kept apart."""
        root = request.root.resolve()
        named = await anyio.to_thread.run_sync(sources, root, request.paths)
        account = _Account(progress)
        seconds = request.limits.seconds * share
        asked = {
            "mode": "mutate",
            "files": named if request.changed_lines is None else _changed(named, request.changed_lines),
            "changed_lines": None
            if request.changed_lines is None
            else {path: sorted(lines) for path, lines in request.changed_lines.items()},
            "tests": list(request.tests),
            "only": None if only is None else list(only),
            "sample": request.sample,
            "seed": request.seed,
            "workers": max(1, request.workers),
            "memory_bytes": request.limits.memory_bytes,
            # A child that breeds is to be seen here, long before the sandbox ends everything for it.
            "processes": max(8, request.limits.processes // 4),
            "seconds": seconds,
            "arguments": [],
        }
        work = folder / "driver"
        await anyio.to_thread.run_sync(work.mkdir)
        done = await self._driver(request).run(
            asked,
            root=root,
            folder=work,
            limits=request.limits,
            seconds=seconds + _GRACE_SECONDS,
            heard=account.heard,
        )
        if account.refused is not None:
            raise _refusal(account.refused)
        if not account.done:
            if not account.results:
                raise failed(done, "The mutation driver")
            account.stopped = f"The process that judges mutants ended early: {done.explanation}"
        return account, done.isolation


def _mutant(event: Mapping[str, Any]) -> Mutant:
    region = Region(
        start_line=event["start"][0],
        start_column=event["start"][1],
        end_line=event["end"][0],
        end_column=event["end"][1],
    )
    return Mutant(
        event["id"],
        event["operator"],
        Location(path=event["path"], region=region),
        event["function"],
        event["original"],
        event["replacement"],
    )


def _changed(named: Sequence[str], changed: Mapping[str, frozenset[int]]) -> list[str]:
    return [path for path in named if changed.get(path)]


def _refusal(event: Mapping[str, Any]) -> CallerError:
    message = event["reason"]
    if event.get("message"):
        message += "\n" + str(event["message"])[-1500:]
    hint = (
        "Name where the tests are, or write one."
        if event.get("no_tests")
        else "Make the tests pass first, or name only those that do."
    )
    return CallerError(message, hint, argument="tests")


def _unread(unreadable: Sequence[str]) -> str | None:
    return f"Not mutated, since they could not be read: {'; '.join(unreadable)}" if unreadable else None

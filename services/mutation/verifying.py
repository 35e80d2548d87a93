"""The last word on mutants: fresh processes, with the mutation written into the source."""

import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from quantum_suite.services.mutation.driver.text import SourceText
from quantum_suite.services.mutation.driving import Driver
from quantum_suite.services.mutation.interface import (
    MutantResult,
    MutantVerdict,
    MutationRequest,
    Progress,
)

_IGNORED = shutil.ignore_patterns(".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache")
_SPARE_SECONDS = 30.0
_TIMES = 8.0
_KILLED = "killed"
_SURVIVED = "survived"


@dataclass(slots=True)
class Verified:
    """Verdicts after fresh processes had their say."""

    results: dict[str, MutantResult]
    disagreements: list[str] = field(default_factory=list)
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What a fresh process said."""

    verdict: str
    test: str | None = None
    ran: int = 0


class Verifier:
    """Runs tests on copies of the project, one mutant written into each at a time."""

    def __init__(
        self, driver: Driver, request: MutationRequest, tests: Sequence[Mapping[str, Any]], folder: Path
    ) -> None:
        self._driver = driver
        self._request = request
        self._tests = tests
        self._folder = folder
        self._seconds = _SPARE_SECONDS + _TIMES * sum(test["seconds"] for test in tests)

    async def confirm(
        self,
        results: Mapping[str, MutantResult],
        pieces: Mapping[str, tuple[int, int]],
        said: Mapping[str, Mapping[str, Any]],
        seconds: float,
        progress: Progress | None,
    ) -> Verified:
        """Judge again: survivors, and some of the killed. What the fresh process says stands."""
        chosen = self._choose(results)
        verified = Verified(dict(results))
        if not chosen:
            return verified
        deadline = time.monotonic() + seconds
        done = 0

        async def one(copy: Path, ident: str) -> None:
            nonlocal done
            await self._confirm_one(copy, results[ident], pieces[ident], said[ident], verified)
            done += 1
            if progress is not None:
                await progress(done, len(chosen), f"confirmed {ident} in a fresh process")

        sound = await self._each(chosen, one, deadline)
        if sound is not None:
            verified.stopped = sound
        return verified

    async def kills(
        self, results: Mapping[str, MutantResult], pieces: Mapping[str, tuple[int, int]], seconds: float
    ) -> dict[str, str]:
        """Return mutant id -> test for every kill that a fresh process confirms."""
        noticed = [ident for ident, result in results.items() if _noticed(result)]
        killed: dict[str, str] = {}

        async def one(copy: Path, ident: str) -> None:
            fresh = await self._fresh(copy, results[ident], pieces[ident], self._request.tests)
            if fresh.verdict == _KILLED:
                killed[ident] = fresh.test or "import"

        await self._each(noticed, one, time.monotonic() + seconds)
        return killed

    def _choose(self, results: Mapping[str, MutantResult]) -> list[str]:
        """Return whom to judge again: all who survived and some who did not, drawn evenly."""
        # The order of the source, so that the same request draws the same ones.
        survived = [ident for ident in sorted(results) if _survived(results[ident])]
        unreached = [i for i in sorted(results) if results[i].verdict is MutantVerdict.NO_COVERAGE]
        killed = [ident for ident in sorted(results) if results[ident].verdict is MutantVerdict.KILLED]
        draw = random.Random(self._request.seed)  # noqa: S311 - a sample, not a secret
        few = self._request.verify_killed
        return [
            *draw.sample(survived, min(len(survived), self._request.verify_survivors)),
            *draw.sample(killed, min(len(killed), few)),
            *draw.sample(unreached, min(len(unreached), few)),
        ]

    async def _each(self, idents: Sequence[str], one: Any, deadline: float) -> str | None:
        """Call `one` with a copy for each mutant, as many at once as there are workers; returns why not all."""
        if not idents:
            return None
        waiting = list(reversed(idents))
        late: list[str] = []
        copies = [
            self._folder / f"fresh-{number}" for number in range(min(self._request.workers, len(idents)) or 1)
        ]
        for copy in copies:
            await anyio.to_thread.run_sync(_copy, self._request.root, copy)
        plain = await self._run(copies[0], self._request.tests)
        if plain.verdict != _SURVIVED:
            return (
                "Fresh processes could not confirm anything: the unmutated tests fail there"
                f" ({plain.test or plain.verdict})."
            )

        async def work(copy: Path) -> None:
            while waiting:
                if time.monotonic() > deadline:
                    late.append(f"The time given was over before {len(waiting)} verdicts were confirmed.")
                    return
                await one(copy, waiting.pop())

        async with anyio.create_task_group() as group:
            for copy in copies:
                group.start_soon(work, copy)
        return late[0] if late else None

    async def _confirm_one(
        self,
        copy: Path,
        result: MutantResult,
        piece: tuple[int, int],
        said: Mapping[str, Any],
        verified: Verified,
    ) -> None:
        ident = result.mutant.id
        was_noticed = _noticed(result)
        first = [result.killed_by] if was_noticed and result.killed_by and "::" in result.killed_by else []
        fresh = await self._fresh(copy, result, piece, first or self._request.tests)
        if first and fresh.verdict == _SURVIVED:
            fresh = await self._fresh(copy, result, piece, self._request.tests)
        if was_noticed == (fresh.verdict != _SURVIVED):
            verified.results[ident] = replace(result, verified=True)
            return
        again = await self._fresh(copy, result, piece, self._request.tests)
        if again.verdict != fresh.verdict:
            verdict = MutantVerdict.FLAKY
        elif result.verdict is MutantVerdict.IMPORT_TIME:
            verdict = MutantVerdict.IMPORT_TIME
        else:
            verdict = MutantVerdict(again.verdict)
        verified.results[ident] = replace(
            result, verdict=verdict, killed_by=again.test, tests_run=again.ran, verified=True
        )
        verified.disagreements.append(self._explain(result, again, verdict, said))

    def _explain(
        self, result: MutantResult, fresh: _Fresh, verdict: MutantVerdict, said: Mapping[str, Any]
    ) -> str:
        mutant = result.mutant
        where = f"{mutant.id} ({mutant.location}, {mutant.original!r} -> {mutant.replacement!r})"
        if verdict is MutantVerdict.FLAKY:
            return f"{where}: fresh processes killed it once and not another time: flaky."
        if fresh.verdict == _SURVIVED:
            return (
                f"{where}: {result.killed_by} failed where the mutant was switched on after import, and nothing"
                " fails with the mutant in the source: what the test expects is computed by the mutated code, or"
                " the test fails when run apart from others. It survived."
            )
        names = {self._tests[index]["id"] for index in said.get("reaching", ())}
        if fresh.test in names:
            why = (
                "passed where the mutant was switched on after import: it depends on the import, or on other tests"
            )
        else:
            why = "was not seen to reach the line: it runs the code in another process, or meets what others left"
        return f"{where}: in a fresh process {fresh.test or fresh.verdict} notices it. The test {why}."

    async def _fresh(
        self, copy: Path, result: MutantResult, piece: tuple[int, int], tests: Sequence[str]
    ) -> _Fresh:
        """Write the mutant into the copy, run the tests, and put the file back."""
        path = copy / result.mutant.location.path
        before = await anyio.to_thread.run_sync(path.read_bytes)
        mutated = SourceText(before).with_piece(*piece, result.mutant.replacement)
        await anyio.to_thread.run_sync(path.write_bytes, mutated)
        try:
            return await self._run(copy, tests)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_renew, self._request.root, copy)

    async def _run(self, copy: Path, tests: Sequence[str]) -> _Fresh:
        said: list[dict[str, Any]] = []

        async def heard(event: dict[str, Any]) -> None:
            if event["event"] == "fresh":
                said.append(event)

        work = copy.with_name(f"{copy.name}-work")
        await anyio.to_thread.run_sync(lambda: work.mkdir(exist_ok=True))
        done = await self._driver.run(
            {"mode": "fresh", "tests": list(tests), "arguments": []},
            root=copy,
            folder=work,
            limits=self._request.limits,
            seconds=self._seconds,
            heard=heard,
        )
        if done.ended_by == "timeout":
            return _Fresh("timeout")
        if not said:
            return _Fresh(_KILLED, "the process ended", 0)
        event = said[-1]
        if event["failed"] is not None:
            return _Fresh(_KILLED, event["failed"], event["ran"])
        return _Fresh(_SURVIVED, None, event["ran"])


def _noticed(result: MutantResult) -> bool:
    if result.verdict is MutantVerdict.IMPORT_TIME:
        return result.killed_by is not None
    return result.verdict in (MutantVerdict.KILLED, MutantVerdict.TIMEOUT)


def _survived(result: MutantResult) -> bool:
    if result.verdict is MutantVerdict.IMPORT_TIME:
        return result.killed_by is None
    return result.verdict is MutantVerdict.SURVIVED


def _copy(origin: Path, copy: Path) -> None:
    shutil.copytree(origin, copy, symlinks=True, ignore=_IGNORED)


def _renew(origin: Path, copy: Path) -> None:
    """Make the copy what it was, whatever a mutant did to it."""
    shutil.rmtree(copy, ignore_errors=True)
    _copy(origin, copy)

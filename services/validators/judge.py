"""The judge: applies a change to a copy, leads it through the gates, and says what follows."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from quantum_suite.core.errors import Conflict
from quantum_suite.core.verdicts import GateReport, Outcome, Problem, Verdict
from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.patches.interface import ChangeSet, PatchRefused
from quantum_suite.services.patches.rendering import changed_lines, to_unified_diff
from quantum_suite.services.patches.writing import write
from quantum_suite.services.scratch.interface import Scratch, ScratchSpace
from quantum_suite.services.testing.interpreters import ENVIRONMENTS
from quantum_suite.services.validators.interface import ChangedTree, Validator

APPLIES = "applies"
Progress = Callable[[int, int, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge makes of one change."""

    verdict: Verdict
    change: ChangeSet | None
    """What the change does; None when it does not apply."""
    diff: str
    """The change as a unified diff; empty when it does not apply."""
    tree_hash: str
    """The state of the workspace that was judged."""
    seconds: float


async def _silent(done: int, total: int, message: str) -> None:
    """Progress that nobody asked for."""


class Judge:
    """Judges changes; the same for whoever wrote them. Nothing of the workspace is touched."""

    def __init__(self, scratch: ScratchSpace, gates: Sequence[Validator]) -> None:
        self._scratch = scratch
        self._gates = tuple(gates)

    @property
    def gates(self) -> tuple[str, ...]:
        """Return the gates in their order, `applies` first."""
        return (APPLIES, *(gate.gate for gate in self._gates))

    async def judge(
        self,
        root: Path,
        patch: str,
        progress: Progress = _silent,
        *,
        extra: Sequence[Validator] = (),
        leave_out: Collection[str] = (),
        through_all: bool = False,
    ) -> Judgement:
        """Apply a patch to a copy of the workspace and lead it through the gates, until one refuses it.

        `extra` gates come last. `leave_out` names gates that are not asked; `through_all` goes on after a refusal,
        for a reader who wants everything there is to say. Raises Conflict when the workspace changes meanwhile,
        CallerError when it is too large to be copied; a patch that does not apply is a refusal, not an error.
        """
        started = time.monotonic()
        gates = [gate for gate in (*self._gates, *extra) if gate.gate not in leave_out]
        await progress(0, len(gates) + 1, "copying the workspace")
        async with self._scratch.copy(root) as scratch:
            try:
                change = await anyio.to_thread.run_sync(apply_patch, patch, scratch.root)
                _refuse_omitted(scratch, change)
                await anyio.to_thread.run_sync(write, change, scratch.root)
            except PatchRefused as error:
                return _refused(scratch, error, time.monotonic() - started)
            reports = [_applies(change)]
            async with _tree(self._scratch, scratch, change) as tree:
                for number, gate in enumerate(gates, start=1):
                    await progress(number, len(gates) + 1, gate.gate)
                    reports.append(await _timed(gate, tree))
                    if reports[-1].outcome is Outcome.FAILED and not through_all:
                        break
            diff = await anyio.to_thread.run_sync(to_unified_diff, change)
            await progress(len(gates) + 1, len(gates) + 1, "judged")
            return Judgement(
                verdict_of(reports), change, diff, scratch.tree_hash, round(time.monotonic() - started, 3)
            )


def _refuse_omitted(scratch: Scratch, change: ChangeSet) -> None:
    """Refuse a change of what the copy does not have, such as a link that leads outside, or anything below it."""
    for path in change.paths:
        for omitted in scratch.omitted:
            if path == omitted.path or path.startswith(f"{omitted.path}/"):
                raise PatchRefused(
                    f"'{path}' cannot be changed here: {omitted.reason}", "Leave it out.", argument="patch"
                )


@asynccontextmanager
async def _tree(space: ScratchSpace, scratch: Scratch, change: ChangeSet) -> AsyncIterator[ChangedTree]:
    lines = await anyio.to_thread.run_sync(changed_lines, change)
    async with AsyncExitStack() as stack:
        original = _LazyOriginal(space, scratch, stack)
        yield ChangedTree(
            scratch, change, lines, original, await anyio.to_thread.run_sync(python_of, scratch.root)
        )


class _LazyOriginal:
    """Copies the workspace a second time, when somebody first wants to compare."""

    def __init__(self, space: ScratchSpace, changed: Scratch, stack: AsyncExitStack) -> None:
        self._space = space
        self._changed = changed
        self._stack = stack
        self._root: Path | None = None

    async def root(self) -> Path:
        if self._root is None:
            copy = await self._stack.enter_async_context(self._space.copy(self._changed.origin))
            if copy.tree_hash != self._changed.tree_hash:
                raise Conflict(
                    "The workspace changed while the change was judged.",
                    "Submit it again, against what is there now.",
                )
            self._root = copy.root
        return self._root


def python_of(root: Path) -> Path | None:
    """Return the interpreter of a project's environment, or None where it has none.

    By the environment's own path: in a copy it is a link. The interpreter's links stay: they tell it where it is.
    """
    for name in ENVIRONMENTS:
        python = (root / name).resolve() / "bin" / "python"
        if python.is_file():
            return python
    return None


async def _timed(gate: Validator, tree: ChangedTree) -> GateReport:
    started = time.monotonic()
    report = await gate.validate(tree)
    return report.model_copy(update={"seconds": round(time.monotonic() - started, 3)})


def _applies(change: ChangeSet) -> GateReport:
    count = len(change.files)
    return GateReport(
        gate=APPLIES,
        outcome=Outcome.PASSED,
        summary=f"It applies exactly: {count} file{'s' if count != 1 else ''}.",
    )


def _refused(scratch: Scratch, error: PatchRefused, seconds: float) -> Judgement:
    problem = Problem(code=error.code, message=error.message, suggestion=error.hint)
    report = GateReport(gate=APPLIES, outcome=Outcome.FAILED, summary=error.message, problems=(problem,))
    return Judgement(verdict_of([report]), None, "", scratch.tree_hash, round(seconds, 3))


def verdict_of(reports: Sequence[GateReport]) -> Verdict:
    """Return what follows from the gates that ran: refused by the first that failed, else accepted.

    What was not assessed does not refuse, and is named with what would make it assessable.
    """
    failed = next((report for report in reports if report.outcome is Outcome.FAILED), None)
    left = [note for report in reports for note in _left(report)]
    if failed is not None:
        return Verdict(
            accepted=False,
            gates=tuple(reports),
            reason=f"Refused at the gate '{failed.gate}': {failed.summary}",
            next_step=next_step(failed),
            not_assessed=tuple(left),
        )
    passed = [report.gate for report in reports if report.outcome is Outcome.PASSED]
    reason = f"Accepted: it passed {', '.join(passed)}."
    open_gates = [report.gate for report in reports if report.outcome is Outcome.NOT_ASSESSED]
    if open_gates:
        reason = f"Accepted as far as it was assessed, which leaves {', '.join(open_gates)} open: {left[0]}"
    elif left:
        reason += f" Parts of that were not assessed ({len(left)})."
    return Verdict(accepted=True, gates=tuple(reports), reason=reason, not_assessed=tuple(left))


def _left(report: GateReport) -> list[str]:
    notes = [f"{report.gate}: {note}" for note in report.unassessed]
    if report.outcome is Outcome.NOT_ASSESSED:
        command = f" Install it with: {report.install_command}" if report.install_command else ""
        notes.insert(0, f"{report.gate}: {report.summary}{command}")
    return notes


def next_step(report: GateReport) -> str:
    """Return the smallest thing that gets a change past the gate that refused it: its first blocking problem."""
    blocking = next((one for one in report.problems if one.blocking), None)
    if blocking is None:
        return f"Mend what the gate '{report.gate}' says, and submit the whole change again."
    where = f" at {blocking.location}" if blocking.location is not None else ""
    if report.gate == APPLIES:
        hint = f" {blocking.suggestion}" if blocking.suggestion else ""
        return f"Read the file again and send the change against what is there.{hint}"
    if report.gate == "tests":
        return f"Make this test pass{where}, by the code and not by the test: {blocking.message}"
    right = f" What would be right: {blocking.suggestion}." if blocking.suggestion else ""
    return f"Mend{where}: {blocking.message}.{right}".replace("..", ".")

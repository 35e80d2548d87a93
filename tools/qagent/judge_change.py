"""Has a change judged, and keeps the verdict and the change under a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.principals import Principal
from quantum_suite.core.uris import ResourceUri
from quantum_suite.core.verdicts import Author, Verdict
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.services.validators.interface import Validator
from quantum_suite.services.validators.judge import Judgement
from quantum_suite.services.validators.mutation_gate import MutationValidator
from quantum_suite.services.validators.reporting import shown_path
from quantum_suite.tools.qagent.change_answers import (
    SHOWN_PROBLEMS,
    ChangeAnswer,
    gate_lines,
    isolation_of,
    problems_of,
)
from quantum_suite.tools.qagent.workshop import Progress, Workshop

VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement, and the answer that tells of it."""

    judgement: Judgement
    answer: ChangeAnswer


@dataclass(frozen=True, slots=True)
class ChangeDesk:
    """Takes changes in, has them judged, and keeps what came of it."""

    workshop: Workshop
    records: ReportStore

    async def submit(
        self,
        root: Path,
        patch: str,
        principal: Principal,
        progress: Progress,
        *,
        author: Author = "assistant",
        model: str | None = None,
        summary: str = "",
        extra: Sequence[Validator] = (),
        mutation_score_at_least: float | None = None,
    ) -> Judged:
        """Judge a change and keep it. With `mutation_score_at_least` its lines are mutated in the end, and it is
        refused where the tests notice a smaller share. Raises CallerError and Conflict as the judge does."""
        async with self.workshop.open("a judgement", progress) as tools:
            if mutation_score_at_least is not None:
                extra = (*extra, MutationValidator(tools.mutation, score_at_least=mutation_score_at_least))
            judgement = await tools.judge.judge(root, patch, progress, extra=extra)
        verdict = judgement.verdict
        told = {
            "accepted": verdict.accepted,
            "author": author,
            "model": model,
            "summary": summary[:500],
            "reason": verdict.reason,
            "tree_hash": judgement.tree_hash,
            "files": list(map(shown_path, judgement.change.paths)) if judgement.change is not None else [],
        }
        reports = {"verdict": verdict.model_dump_json(indent=2).encode(), "diff": judgement.diff.encode()}
        record = await self.records.save(principal, VERDICT, root, told, reports)
        answer = _answer(record.id, judgement, author, model)
        return Judged(judgement, answer)


def report_uri(record: str, view: str | None = None) -> str:
    """Return the URI of what is kept under a record's id."""
    return str(ResourceUri("qagent", "changes", record, view))


def _answer(record: str, judgement: Judgement, author: Author, model: str | None) -> ChangeAnswer:
    verdict: Verdict = judgement.verdict
    problems = problems_of(verdict.gates)
    omitted = sum(gate.omitted for gate in verdict.gates)
    change = judgement.change
    return ChangeAnswer(
        change=record if change is not None else None,
        accepted=verdict.accepted,
        author=author,
        model=model,
        reason=verdict.reason,
        next_step=verdict.next_step if not verdict.accepted else _WHEN_ACCEPTED,
        gates=gate_lines(verdict),
        problems=tuple(problems[:SHOWN_PROBLEMS]),
        more_problems=max(0, len(problems) - SHOWN_PROBLEMS) + omitted,
        not_assessed=verdict.not_assessed,
        isolation=isolation_of(verdict.gates),
        files=tuple(map(shown_path, change.paths)) if change is not None else (),
        report=report_uri(record),
        diff=judgement.diff if author == "model" else None,
    )


_WHEN_ACCEPTED = "Show the diff and what was not assessed, then call apply_change with this change."

"""Improves a change in rounds, measured by an oracle the author did not write, and keeps the best."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, Unavailable
from quantum_suite.core.principals import Principal
from quantum_suite.core.verdicts import Author, Outcome
from quantum_suite.services.patches.interface import PatchRefused
from quantum_suite.services.patches.paths import checked_path
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qagent.ask_model import FIRST_TEMPERATURE, ModelAuthor, Written
from quantum_suite.tools.qagent.change_answers import ChangeAnswer
from quantum_suite.tools.qagent.generate_code import prompt_values
from quantum_suite.tools.qagent.judge_change import ChangeDesk, Judged, report_uri
from quantum_suite.tools.qagent.oracle import OracleValidator
from quantum_suite.tools.qagent.plan_change import ContextPack, Plan, Planner
from quantum_suite.tools.qagent.read_answer import patch_in
from quantum_suite.tools.qagent.workshop import Progress

IMPROVEMENT = "improvement"
_TOLD_PROBLEMS = 12
_TOLD_CHARACTERS = 400
_MOST_OUTPUT_CHARACTERS = 8_000
_MOST_TEXT_CHARACTERS = 100_000
_ANEW_TEMPERATURE = 0.8
"""Of a try that begins anew: it shall be another one."""


class Round(BaseModel):
    """One try."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(description="0 is the first try.")
    author: Author = Field(description="Who wrote it.")
    score: float = Field(description="0 to 1: half for the gates passed, half for the oracle's tests that pass.")
    gain: float = Field(description="How much better than the best before; 0 or less is no gain.")
    accepted: bool = Field(description="Whether it passed every gate, the oracle too.")
    refused_at: str | None = Field(description="The gate that refused it.")
    oracle_tests: int = Field(description="Tests of the oracle that were run.")
    tokens: int = Field(description="Tokens the model took for it; 0 for yours.")
    change: str | None = Field(description="Names the judged change.")


class Improvement(BaseModel):
    """What the rounds came to."""

    model_config = ConfigDict(frozen=True)

    author: Author = Field(description="assistant: you write the next try. model: the configured one wrote.")
    message: str = Field(description="Which way was taken, why it stopped, and what to do now.")
    stopped: str = Field(
        description="Why it stopped: accepted, no gain, rounds, tokens, no answer (of the model), or your turn."
    )
    rounds: tuple[Round, ...] = Field(description="Every try with its gain.")
    best: ChangeAnswer | None = Field(description="The best of them with its verdict.")
    tokens: int = Field(description="Tokens the model took in all.")
    plan: ContextPack | None = Field(default=None, description="What is known about the goal.")
    report: str | None = Field(default=None, description="URI of the rounds.")


@dataclass(frozen=True, slots=True)
class Rule:
    """When the rounds stop."""

    rounds: int = 4
    """Most tries."""
    patience: int = 2
    """Tries without a gain after which it stops: one that mends, and one that begins anew."""
    tokens: int = 60_000
    """Tokens after which no further try is begun."""


@dataclass(slots=True)
class _State:
    rounds: list[Round] = field(default_factory=list)
    best: Judged | None = None
    text: str = ""
    """The best try as its author wrote it."""
    score: float = -1.0
    idle: int = 0
    tokens: int = 0
    silence: str = ""
    """Why the model said no more, where it did not."""


@dataclass(frozen=True, slots=True)
class Improver:
    """Runs the loop."""

    planner: Planner
    author: ModelAuthor
    desk: ChangeDesk
    records: ReportStore

    async def improve(
        self,
        root: Path,
        goal: str,
        patch: str | None,
        oracle: OracleValidator,
        rule: Rule,
        token_budget: int,
        principal: Principal,
        progress: Progress,
    ) -> Improvement:
        """Judge the first try, have the model mend it while that gains, and keep the best.

        Without a model there is one round, of the patch that was handed in. Raises as the judge and gateway do; a
        model that is away after the first try costs nothing but the tries to come.
        """
        plan = await self.planner.plan(root, goal, token_budget, principal, progress)
        state = _State()
        stopped = "your turn"
        if patch is not None:
            judged = await self._judge(root, patch, principal, progress, "assistant", None, goal, oracle)
            _note(state, judged, oracle, "assistant", 0, patch)
        if self.author.configured:
            stopped = await self._rounds(root, goal, plan, oracle, rule, principal, progress, state)
        elif state.best is not None and state.best.answer.accepted:
            stopped = "accepted"
        return await self._answer(root, plan, state, stopped, principal)

    async def _rounds(
        self,
        root: Path,
        goal: str,
        plan: Plan,
        oracle: OracleValidator,
        rule: Rule,
        principal: Principal,
        progress: Progress,
        state: _State,
    ) -> str:
        while True:
            reason = _why_stop(state, rule)
            if reason is not None:
                return reason
            try:
                written = await self._written(goal, plan, principal, state)
            except Unavailable as error:
                if state.best is None:
                    raise
                state.silence = str(error)
                return "no answer"
            state.tokens += written.tokens
            patch = patch_in(written.text, root, plan.files)
            judged = await self._judge(root, patch, principal, progress, "model", written.model, goal, oracle)
            _note(state, judged, oracle, "model", written.tokens, written.text)

    async def _written(self, goal: str, plan: Plan, principal: Principal, state: _State) -> Written:
        """Have the model write the first try, mend the best one, or write anew where mending gained nothing."""
        purpose = "qagent.improve_change"
        if state.best is None or state.idle % 2:
            heat = FIRST_TEMPERATURE if state.best is None else _ANEW_TEMPERATURE
            values = prompt_values(goal, plan)
            return await self.author.ask("generate_change", values, principal, purpose=purpose, temperature=heat)
        # The same question at no temperature gets the same answer.
        heat = min(1.0, 0.2 + 0.2 * len(state.rounds))
        values = _repair_values(goal, plan, state.best, state.text)
        return await self.author.ask("repair_change", values, principal, purpose=purpose, temperature=heat)

    async def _judge(
        self,
        root: Path,
        patch: str,
        principal: Principal,
        progress: Progress,
        author: Author,
        model: str | None,
        goal: str,
        oracle: OracleValidator,
    ) -> Judged:
        oracle.share, oracle.tests = 0.0, 0
        return await self.desk.submit(
            root, patch, principal, progress, author=author, model=model, summary=goal, extra=(oracle,)
        )

    async def _answer(
        self, root: Path, plan: Plan, state: _State, stopped: str, principal: Principal
    ) -> Improvement:
        author: Author = "model" if self.author.configured else "assistant"
        best = state.best.answer if state.best is not None else None
        improvement = Improvement(
            author=author,
            message=_message(author, stopped, best, state.silence),
            stopped=stopped,
            rounds=tuple(state.rounds),
            best=best,
            tokens=state.tokens,
            plan=plan.pack,
        )
        told = {"stopped": stopped, "rounds": len(state.rounds), "accepted": best is not None and best.accepted}
        reports = {"rounds": improvement.model_dump_json(indent=2).encode()}
        record = await self.records.save(principal, IMPROVEMENT, root, told, reports)
        return improvement.model_copy(update={"report": report_uri(record.id, "rounds")})


def checked_oracle(files: dict[str, str] | None, tests: Sequence[str] | None) -> None:
    """Raise CallerError where there is no oracle: a loop that measures itself by itself proves nothing."""
    for path in files or ():
        try:
            checked_path(path)
        except PatchRefused as error:
            raise CallerError(error.message, error.hint, argument="oracle_files") from error
    if not files and not tests:
        raise CallerError(
            "There is no oracle.",
            "Give oracle_files (tests you or the user wrote) or oracle_tests (ids or files of tests there are).",
            argument="oracle_tests",
        )


def score(judged: Judged, oracle: OracleValidator, gates: int) -> float:
    """Return how good a try is: half for the gates passed, half for the share of the oracle that passes."""
    passed = sum(one.outcome is not Outcome.FAILED for one in judged.judgement.verdict.gates)
    reached = judged.judgement.verdict.gate(oracle.gate) is not None
    return round(0.5 * min(1.0, passed / gates) + (0.5 * oracle.share if reached else 0.0), 4)


def _note(state: _State, judged: Judged, oracle: OracleValidator, author: Author, tokens: int, text: str) -> None:
    gates = max(len(judged.judgement.verdict.gates), _GATES)
    value = score(judged, oracle, gates)
    gain = round(value - max(state.score, 0.0), 4)
    verdict = judged.judgement.verdict
    state.rounds.append(
        Round(
            number=len(state.rounds),
            author=author,
            score=value,
            gain=gain,
            accepted=verdict.accepted,
            refused_at=None if verdict.accepted else verdict.gates[-1].gate,
            oracle_tests=oracle.tests,
            tokens=tokens,
            change=judged.answer.change,
        )
    )
    state.idle = 0 if gain > 0 or state.best is None else state.idle + 1
    if state.best is None or value > state.score:
        state.best, state.score, state.text = judged, value, text


_GATES = 11
"""Gates of a change that passes them all: those of the judge, and the oracle."""


def _why_stop(state: _State, rule: Rule) -> str | None:
    if state.best is not None and state.best.answer.accepted:
        return "accepted"
    if state.idle >= rule.patience:
        return "no gain"
    if len(state.rounds) >= rule.rounds:
        return "rounds"
    return "tokens" if state.tokens >= rule.tokens else None


def _repair_values(goal: str, plan: Plan, best: Judged, text: str) -> dict[str, object]:
    verdict = best.judgement.verdict
    problems = [
        f"{one.location or 'the change'}: {one.message}"[:_TOLD_CHARACTERS]
        for gate in verdict.gates
        for one in gate.problems
        if one.blocking
    ]
    output = "\n".join(gate.summary for gate in verdict.gates)[-_MOST_OUTPUT_CHARACTERS:]
    return {
        "goal": goal,
        "context": plan.context,
        "change": best.judgement.diff or text[:_MOST_TEXT_CHARACTERS],
        "problems": problems[:_TOLD_PROBLEMS] or [verdict.reason[:_TOLD_CHARACTERS]],
        "output": output,
    }


def _message(author: Author, stopped: str, best: ChangeAnswer | None, silence: str) -> str:
    if author == "assistant":
        if best is None:
            return "No model is configured, so you are the author: write the change and call this again with it."
        if stopped == "accepted":
            return "Your change passes every gate and the oracle."
        return f"No model is configured, so you are the author. Next: {best.next_step} Then call this again."
    said = {
        "accepted": "The model's change passes every gate and the oracle.",
        "no gain": "The last tries were no better than the best before, so it stopped.",
        "rounds": "The rounds are used up.",
        "tokens": "The tokens are used up.",
        "no answer": f"The model did not answer any more ({silence}).",
    }[stopped]
    return f"{said} The best try is kept." if stopped != "accepted" else said

"""Reviews a change: what the checks find, and what a reader finds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.principals import Principal
from quantum_suite.core.verdicts import Author, Problem
from quantum_suite.services.prompts.interface import PromptLibrary
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qagent.ask_model import ModelAuthor
from quantum_suite.tools.qagent.change_answers import GateLine, gate_lines, problems_of
from quantum_suite.tools.qagent.judge_change import report_uri
from quantum_suite.tools.qagent.workshop import Progress, Workshop

REVIEW = "review"
_MOST_DIFF = 180_000
_MOST = 10
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "problems": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "type": "object",
                "properties": {
                    "file": {"type": "string"},
                    "line": {"type": "integer"},
                    "situation": {"type": "string"},
                    "what_happens": {"type": "string"},
                    "what_would_be_right": {"type": "string"},
                },
                "required": ["file", "situation", "what_happens", "what_would_be_right"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["problems"],
    "additionalProperties": False,
}


class ReadersRemark(BaseModel):
    """One problem a reader names."""

    model_config = ConfigDict(frozen=True)

    file: str = Field(description="The file.")
    line: int | None = Field(default=None, description="The line.")
    situation: str = Field(description="The input or situation in which it goes wrong.")
    what_happens: str = Field(description="What happens then.")
    what_would_be_right: str = Field(description="What would be right.")


class Review(BaseModel):
    """What was found in a change."""

    model_config = ConfigDict(frozen=True)

    reader: Author = Field(description="model: the configured one read it too. assistant: you are to read it.")
    message: str = Field(description="Which way was taken, and what to do now.")
    gates: tuple[GateLine, ...] = Field(description="What the checks say, all of them.")
    problems: tuple[Problem, ...] = Field(description="What the checks found, worst first.")
    remarks: tuple[ReadersRemark, ...] = Field(description="What the model found; unproven.")
    not_assessed: tuple[str, ...] = Field(description="What nobody checked.")
    model: str | None = Field(default=None, description="The model that read it.")
    reading: str | None = Field(default=None, description="URI of what to read the change with.")


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Reviews changes."""

    workshop: Workshop
    author: ModelAuthor
    prompts: PromptLibrary
    records: ReportStore

    async def review(
        self, root: Path, patch: str, goal: str, run_tests: bool, principal: Principal, progress: Progress
    ) -> Review:
        """Lead a change through every gate, also after one that refuses it, and have it read."""
        leave_out = () if run_tests else ("tests",)
        async with self.workshop.open("a review", progress) as tools:
            judgement = await tools.judge.judge(root, patch, progress, leave_out=leave_out, through_all=True)
        verdict = judgement.verdict
        values = {"goal": goal or "(not said)", "diff": judgement.diff[:_MOST_DIFF] or patch, "most": _MOST}
        remarks: tuple[ReadersRemark, ...] = ()
        model: str | None = None
        message = "No model is configured, so you are the reader: read the change with the resource's questions."
        if judgement.change is not None and self.author.configured:
            try:
                written = await self.author.ask(
                    "review_change", values, principal, purpose="qagent.review_change", schema=_SCHEMA
                )
                remarks = tuple(ReadersRemark.model_validate(one) for one in written.data["problems"][:_MOST])
                model = written.model
                message = f"{model} read the change as well; its remarks are unproven: check each before you act."
            except SuiteError as error:
                message = f"The model could not read it ({error}), so you are the reader."
        rendered = self.prompts.render("review_change", values)
        told = {"accepted": verdict.accepted, "remarks": len(remarks)}
        reports = {"reading": rendered.text.encode(), "verdict": verdict.model_dump_json(indent=2).encode()}
        record = await self.records.save(principal, REVIEW, root, told, reports)
        left = verdict.not_assessed if run_tests else (*verdict.not_assessed, "tests: they were not asked for")
        return Review(
            reader="assistant" if model is None else "model",
            message=message,
            gates=gate_lines(verdict),
            problems=tuple(problems_of(verdict.gates)[:20]),
            remarks=remarks,
            not_assessed=left,
            model=model,
            reading=report_uri(record.id, "reading") if model is None else None,
        )

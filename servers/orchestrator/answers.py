"""What the tools answer: structured for programs, a few lines for a model, links for what is long."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.principals import Principal
from quantum_suite.resources.orchestrator.definition import definition_row
from quantum_suite.resources.orchestrator.run import definition_name, definition_version, failure_json
from quantum_suite.resources.orchestrator.uris import definition_uri, run_uri
from quantum_suite.servers.orchestrator.runs import waits_for
from quantum_suite.services.workflows.composite.composites import COMPOSITE, Known
from quantum_suite.services.workflows.composite.model import Definition
from quantum_suite.services.workflows.interface import (
    APPROVAL_STATUS,
    FINAL,
    PROGRESS_STATUS,
    Run,
    RunState,
    Schedule,
)
from quantum_suite.services.yaml_nodes import Problem

MAX_RESULT_CHARACTERS = 4000
"""Longest result of a run that is part of an answer."""


class Asked(BaseModel):
    """What a run asks people."""

    model_config = ConfigDict(frozen=True)

    question: str = Field(description="The question, to be put to a person word for word.")
    approvers: tuple[str, ...] = Field(description="Roles or principals who may answer; empty: owner and admins.")
    expires_at: datetime = Field(description="When silence counts as no.")
    yours: bool = Field(description="Whether the caller may answer, with approve_workflow.")
    details: Any = Field(default=None, description="What the decision is about.")


class RunAnswer(BaseModel):
    """A run as it stands, short."""

    model_config = ConfigDict(frozen=True)

    run: str | None = Field(default=None, description="The run's id, for the other tools.")
    workflow: str = Field(description="The definition it runs.")
    version: str | None = Field(default=None, description="The definition's version.")
    state: RunState | None = Field(
        default=None, description="completed, failed and cancelled are final; waiting: for people or time."
    )
    asks: Asked | None = Field(default=None, description="What it asks people now.")
    progress: Any = Field(default=None, description="How far the present step has come, where it says so.")
    result: Any = Field(default=None, description="Its output; left out when long: read the run's resource.")
    failure: Any = Field(default=None, description="Why it failed: code, message, hint.")
    uri: str | None = Field(default=None, description="The resource with everything about it.")
    schedule: str | None = Field(default=None, description="In place of a run: the id of what the clock starts.")
    cron: str | None = Field(default=None, description="When the clock starts it, UTC.")


class RunList(BaseModel):
    """A page of runs, newest first."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[RunAnswer, ...] = Field(default=(), description="Runs.")
    definitions: tuple[dict[str, Any], ...] = Field(default=(), description="Definitions that can be started.")
    schedules: tuple[dict[str, Any], ...] = Field(default=(), description="What is started by the clock.")
    next_cursor: str | None = Field(default=None, description="Pass it as cursor for the next page.")


class ProblemAnswer(BaseModel):
    """One thing that is wrong with a definition."""

    model_config = ConfigDict(frozen=True)

    severity: str = Field(description="error: it cannot be kept or run. warning: it can.")
    path: str = Field(description="Where in the definition.")
    line: int = Field(description="Line, from 1.")
    column: int = Field(description="Column, from 1.")
    message: str = Field(description="What is wrong.")
    hint: str = Field(description="What would be right.")


class DefinitionAnswer(BaseModel):
    """What became of a definition."""

    model_config = ConfigDict(frozen=True)

    valid: bool = Field(description="Whether it can be run.")
    name: str | None = Field(default=None, description="Its name.")
    version: int | None = Field(default=None, description="The version it was kept as.")
    uri: str | None = Field(default=None, description="Where it can be read.")
    problems: tuple[ProblemAnswer, ...] = Field(description="All that is wrong or doubtful.")


def run_answer(run: Run, principal: Principal) -> CallToolResult:
    """Return the answer that tells how a run stands."""
    answer = told(run, principal)
    lines = [f"Run {run.id} of {answer.workflow} (version {answer.version}) is {run.state}."]
    if answer.asks is not None:
        who = "You may answer with approve_workflow" if answer.asks.yours else "It is not for you to answer"
        lines += [
            f"It asks: {answer.asks.question}",
            f"{who}; open until {answer.asks.expires_at:%Y-%m-%d %H:%M} UTC.",
        ]
    if run.failure is not None:
        lines.append(f"{run.failure.code}: {run.failure.message} {run.failure.hint or ''}".rstrip())
    if answer.result is not None:
        lines.append(f"Result: {json.dumps(answer.result, ensure_ascii=False)}")
    elif run.state == "completed" and run.result is not None:
        lines.append("The result is long: read the run's resource.")
    if run.state not in FINAL and answer.asks is None:
        lines.append("Ask again with workflow_status, and wait_seconds to wait for its end.")
    return result(answer, "\n".join(lines), *_links(run))


def told(run: Run, principal: Principal) -> RunAnswer:
    """Return a run in short."""
    asked = run.status.get(APPROVAL_STATUS) if run.state not in FINAL else None
    fits = len(json.dumps(run.result)) <= MAX_RESULT_CHARACTERS
    return RunAnswer(
        run=run.id,
        workflow=definition_name(run),
        version=definition_version(run),
        state=run.state,
        asks=None if not asked else Asked(**_question(asked), yours=waits_for(run, principal)),
        progress=run.status.get(PROGRESS_STATUS) if run.state == "running" else None,
        result=run.result if fits else None,
        failure=failure_json(run.failure),
        uri=run_uri(run.id),
    )


def runs_answer(runs: Sequence[Run], cursor: str | None, principal: Principal) -> CallToolResult:
    """Return a page of runs."""
    answers = [told(run, principal) for run in runs]
    lines = [_run_line(answer) for answer in answers] or ["There are no such runs."]
    if cursor:
        lines.append(f"More with cursor {cursor}")
    return result(RunList(runs=tuple(answers), next_cursor=cursor), "\n".join(lines))


def definitions_answer(definitions: Sequence[tuple[Known, Definition]], cursor: str | None) -> CallToolResult:
    """Return the definitions that can be started."""
    rows = tuple(definition_row(known, read) for known, read in definitions)
    lines = [
        f"- {row['name']} (version {row['version']}): {row['description']} Inputs: {_inputs(row)}{_events(row)}"
        for row in rows
    ]
    if cursor:
        lines.append(f"More with cursor {cursor}")
    return result(RunList(definitions=rows, next_cursor=cursor), "\n".join(lines))


def schedules_answer(schedules: Sequence[Schedule]) -> CallToolResult:
    """Return what is started by the clock."""
    rows = tuple(_schedule(one) for one in schedules)
    lines = [f"- {row['schedule']}: {row['workflow']} at '{row['cron']}' (UTC)" for row in rows]
    return result(RunList(schedules=rows), "\n".join(lines or ["Nothing is scheduled."]))


def scheduled_answer(schedule: Schedule, verb: str) -> CallToolResult:
    """Return the answer that a schedule was made or removed."""
    row = _schedule(schedule)
    text = f"{verb} {row['schedule']}: {row['workflow']} at '{row['cron']}' (UTC)."
    return result(RunAnswer(workflow=row["workflow"], schedule=row["schedule"], cron=row["cron"]), text)


def definition_answer(
    problems: Sequence[Problem], *, name: str | None, version: int | None = None
) -> CallToolResult:
    """Return what is wrong with a definition, and under what it was kept."""
    valid = all(problem.severity == "warning" for problem in problems)
    uri = definition_uri(name) if name is not None and version is not None else None
    answer = DefinitionAnswer(
        valid=valid,
        name=name,
        version=version,
        uri=uri,
        problems=tuple(
            ProblemAnswer(
                severity=one.severity,
                path=one.path,
                line=one.line,
                column=one.column,
                message=one.message,
                hint=one.hint,
            )
            for one in problems
        ),
    )
    kept = f"Kept as {name}, version {version}." if version is not None else None
    head = kept or ("It is right." if valid else "It cannot be run.")
    links = [] if uri is None or name is None else [_link(uri, name, "application/yaml", "The definition.")]
    return result(answer, "\n".join([head, *map(str, problems)]), *links)


def result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    """Return an answer as a tool's result."""
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )


def _question(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: asked[name] for name in ("question", "approvers", "expires_at", "details")}


def _run_line(answer: RunAnswer) -> str:
    asks = f", asks: {answer.asks.question}" if answer.asks is not None else ""
    return f"- {answer.run} {answer.workflow}: {answer.state}{asks}"


def _inputs(row: dict[str, Any]) -> str:
    inputs: dict[str, Any] = row["inputs"]
    return ", ".join(f"{name}{'' if one.get('required') else '?'}" for name, one in inputs.items()) or "none"


def _events(row: dict[str, Any]) -> str:
    """Say which events start a definition."""
    types = dict.fromkeys(trigger["event"] for trigger in row.get("on", ()))
    return f" Started by: {', '.join(types)}" if types else ""


def _schedule(schedule: Schedule) -> dict[str, Any]:
    composite = schedule.workflow == COMPOSITE and isinstance(schedule.arguments, dict)
    name = schedule.arguments["definition"] if composite else schedule.workflow
    return {"schedule": schedule.name, "workflow": name, "cron": schedule.cron, "paused": schedule.paused}


def _links(run: Run) -> list[ContentBlock]:
    links: list[ContentBlock] = [
        _link(run_uri(run.id), "The run", "application/json", "Everything about it, with its steps and graph.")
    ]
    report = run.status.get("report")
    if report:
        links.append(_link(run_uri(run.id, "report"), report["title"], report["media_type"], "The report."))
    return links


def _link(uri: str, name: str, mime_type: str, description: str) -> ResourceLink:
    return ResourceLink(uri=uri, name=name, mime_type=mime_type, description=description)

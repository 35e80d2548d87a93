"""The `pulumi` command behind the port: its previews as plans, its runs held to them. By a stand-in: the command
itself comes from no package registry."""

import json
import sys
from pathlib import Path

import pytest

from quantum_suite.core.errors import CallerError, Conflict, EngineError, EngineMissing
from quantum_suite.services.infrastructure.cli.engine import CliEngine
from quantum_suite.services.infrastructure.interface import ImportRequest, StackRef, StackRequest, StepReport

pytestmark = pytest.mark.anyio

STAND_IN = Path(__file__).parents[4] / "reference" / "standin_pulumi.py"


@pytest.fixture
def engine(tmp_path: Path) -> CliEngine:
    program = tmp_path / "pulumi"
    program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text())
    program.chmod(0o755)
    return CliEngine(str(program))


@pytest.fixture
def request_(tmp_path: Path) -> StackRequest:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    return StackRequest(StackRef(folder, "dev"), deadline_seconds=60)


def but(request: StackRequest, **config: str) -> StackRequest:
    return StackRequest(request.ref, config=config, deadline_seconds=60)


def calls(request: StackRequest) -> list[list[str]]:
    return [json.loads(line) for line in (request.ref.folder / "calls").read_text().splitlines()]


async def test_a_preview_is_a_plan_and_a_run_is_held_to_it(engine: CliEngine, request_: StackRequest) -> None:
    plan = await engine.preview(request_)
    (step,) = plan.steps
    assert (step.operation, step.name, step.inputs) == ("create", "thing", {"word": "hello", "pin": "[secret]"})
    assert plan.messages == ("hello",)
    with pytest.raises(Conflict, match="not the one that was approved"):
        await engine.up(but(request_, word="other"), plan.digest)
    assert not (request_.ref.folder / "state.json").exists()


async def test_a_run_reports_what_its_event_log_says(
    engine: CliEngine, request_: StackRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantum_suite.services.infrastructure.cli.engine.source_digest", lambda folder: "same")
    reports: list[StepReport] = []

    async def told(report: StepReport) -> None:
        reports.append(report)

    plan = await engine.preview(request_)
    done = await engine.up(request_, plan.digest, told)
    assert (done.state, dict(done.done), done.outputs) == ("succeeded", {"create": 1}, {"word": "hello"})
    assert [report.message for report in reports] == ["create"]
    assert any("--plan" in call for call in calls(request_) if call[0] == "up")
    assert [one.name for one in (await engine.state(request_.ref)).resources] == ["thing"]

    plan = await engine.preview(but(request_, word="bye"))
    (step,) = plan.steps
    assert (step.operation, [reason.key for reason in step.replacement_reasons]) == ("replace", ["word"])
    assert [(change.path, change.old, change.new, change.forces_replacement) for change in step.changes] == [
        ("word", "hello", "bye", True)
    ]
    failing = but(request_, word="failing")
    failed = await engine.up(failing, (await engine.preview(failing)).digest)
    assert (failed.state, failed.failures[0][0].rpartition("::")[2]) == ("failed", "thing")

    assert (await engine.refresh(request_)).done == {"refresh": 1}
    imported = StackRequest(request_.ref, import_=ImportRequest(step.urn, "thing-1"), deadline_seconds=60)
    assert (await engine.import_(imported)).state == "succeeded"
    assert calls(request_)[-3][:4] == ["import", "mem:index:Thing", "thing", "thing-1"]
    gone = await engine.preview(request_, kind="destroy")
    assert [step.operation for step in gone.steps] == ["delete"]
    assert (await engine.destroy(request_, gone.digest)).done == {"delete": 1}


async def test_what_cannot_be_is_said(engine: CliEngine, request_: StackRequest) -> None:
    plan = await engine.preview(but(request_, word="bad"))
    assert [problem.message for problem in plan.problems] == ["the program failed"]
    with pytest.raises(CallerError, match="not handed to the pulumi command"):
        await engine.preview(StackRequest(request_.ref, {"a": "b"}, frozenset({"a"})))
    with pytest.raises(CallerError, match="nothing to import"):
        await engine.import_(request_)
    with pytest.raises(EngineMissing):
        await CliEngine("/nonexistent/pulumi").preview(request_)
    with pytest.raises(EngineError, match="exit status 1"):
        await CliEngine("/bin/false").preview(request_)

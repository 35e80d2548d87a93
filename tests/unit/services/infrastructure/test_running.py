"""Runs of the embedded engine within this process: what its worker does, seen from inside."""

import json
import sys
from pathlib import Path

import pytest
from reference.stacks import InProcessEngine, Project, operations

from quantum_suite.core.errors import CallerError, Conflict, EngineError
from quantum_suite.services.infrastructure.embedded.order import error_of, error_to_json
from quantum_suite.services.infrastructure.interface import RunOutcome
from quantum_suite.services.infrastructure.plan import Plan

pytestmark = pytest.mark.anyio

PLUGIN = Path(__file__).parents[3] / "reference" / "things_plugin.py"


async def plan_of(project: Project, kind: str = "update", **options: object) -> Plan:
    return await inside(project).engine.preview(project.request(**options), kind=kind)  # type: ignore[arg-type]  # a kind


async def done(project: Project, verb: str, digest: str = "") -> RunOutcome:
    engine = inside(project).engine
    if verb == "refresh":
        return await engine.refresh(project.request())
    return await (engine.up if verb == "up" else engine.destroy)(project.request(), digest)


def inside(project: Project) -> Project:
    """Have the project run within this process."""
    if not isinstance(project.engine, InProcessEngine):
        project.engine = InProcessEngine(project.engine.keys, project.engine.state_dir)
    return project


PROGRAM = """
class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("my:index:Group", name)

group = Group("group")
a = File("a", config.get("word") or "text", pulumi.ResourceOptions(parent=group))
pulumi.log.warn("take care")
pulumi.export("a", a.text)
"""


async def test_a_python_program_goes_through_its_life(tmp_path: Path) -> None:
    project = Project.python(tmp_path, PROGRAM)
    plan = await plan_of(project)
    assert plan.messages == ("take care",)
    made = await done(project, "up", plan.digest)
    assert (made.state, made.outputs) == ("succeeded", {"a": "text"})
    (project.folder / "out" / "a").write_text("by hand")
    assert [drift.name for drift in (await plan_of(project, "refresh")).drift] == ["a"]
    assert dict((await done(project, "refresh")).done) == {}
    with pytest.raises(Conflict, match="its digest is another"):
        await done(project, "up", "0" * 64)
    plan = await plan_of(project)
    assert operations(plan) == {"a": "update"}
    project.rewrite("raise ValueError('enough')\n")
    with pytest.raises(EngineError, match="The program failed: ValueError: enough"):
        await plan_of(project)
    plan = await plan_of(project, "destroy")
    assert dict((await done(project, "destroy", plan.digest)).done) == {"delete": 1}


async def test_what_the_monitor_does_not_offer_is_refused_in_words(tmp_path: Path) -> None:
    project = Project.python(tmp_path, "pulumi.StackReference('other')\n")
    with pytest.raises(EngineError, match="References to other stacks are not supported"):
        await plan_of(project)
    project.rewrite("pulumi.runtime.invoke('pulumi:pulumi:getResource', {})\n")
    with pytest.raises(EngineError, match="is not supported by this engine"):
        await plan_of(project)
    project.rewrite("File('a', 'x', pulumi.ResourceOptions(transforms=[lambda args: None]))\n")
    with pytest.raises(EngineError, match="does not support transforms"):
        await plan_of(project)


async def test_an_explicit_provider_is_configured_and_replaced_by_what_it_says(tmp_path: Path) -> None:
    plugin = tmp_path / "bin" / "pulumi-resource-things"
    plugin.parent.mkdir()
    plugin.write_text(f"#!{sys.executable}\n" + PLUGIN.read_text())
    plugin.chmod(0o755)
    project = Project.python(tmp_path, "")
    project.options = {"environment": {"PATH": f"{plugin.parent}:/usr/bin:/bin"}}
    (project.folder / "Pulumi.yaml").write_text(f"""
name: shop
runtime: yaml
config:
  things:file: {project.folder}/out/things.json
resources:
  a: {{type: "things:Thing", properties: {{size: 1}}}}
  b: {{type: "things:Thing", get: {{id: thing-a}}, options: {{dependsOn: ["${{a}}"]}}}}
""")
    text = (project.folder / "Pulumi.yaml").read_text()
    (project.folder / "Pulumi.yaml").write_text(text.replace("  b:", "  #b:"))
    plan = await plan_of(project)
    assert operations(plan) == {"a": "create"}
    assert (await done(project, "up", plan.digest)).state == "succeeded"
    (project.folder / "Pulumi.yaml").write_text(text)
    plan = await plan_of(project)
    assert operations(plan) == {}
    read = await done(project, "up", plan.digest)
    assert read.state == "succeeded", read.failures
    plan = await plan_of(project, "destroy")
    assert (await done(project, "destroy", plan.digest)).state == "succeeded"


def test_errors_travel_whole() -> None:
    for error in (
        CallerError("m", "h", argument="a"),
        Conflict("m"),
        EngineError("m", "h", engine="e", printed="p"),
    ):
        back = error_of(json.loads(json.dumps(error_to_json(error))))
        assert (type(back), back.message, back.hint) == (type(error), error.message, error.hint)
        assert getattr(back, "argument", None) == getattr(error, "argument", None)
        assert getattr(back, "printed", None) == getattr(error, "printed", None)

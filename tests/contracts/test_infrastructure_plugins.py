"""YAML programs, provider plugins and policy packs: real ones, in processes of their own."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from reference.stacks import InProcessEngine, Project, operations, step_of

from quantum_suite.core.errors import CallerError, Conflict, EngineError, EngineMissing
from quantum_suite.services.encryption.memory import MemoryKeyProvider

pytestmark = pytest.mark.anyio

PLUGIN = Path(__file__).parent.parent / "reference" / "things_plugin.py"

PROGRAM = """
name: shop
runtime: yaml
config:
  size: {type: integer, default: 3}
variables:
  doubled:
    fn::invoke: {function: "things:index:double", arguments: {number: 21}, return: doubled}
resources:
  provider:
    type: pulumi:providers:things
    properties: {file: FILE}
  first:
    type: things:Thing
    properties: {size: "${size}", kind: box, pin: {"fn::secret": "1234-5678"}}
    options: {provider: "${provider}"}
  second:
    type: things:Thing
    properties:
      size: "${doubled}"
      kind: "${first.label}"
      text: "of ${first.id} in ${pulumi.stack}, $${as is}"
      json: {"fn::toJSON": {"a": ["${first.kind}", 1]}}
      joined: {"fn::join": ["-", [a, b]]}
    options: {provider: "${provider}", dependsOn: ["${first}"]}
outputs:
  label: ${second.label}
  pin: ${first.pin}
"""


def yaml_project(home: Path, text: str) -> Project:
    project = Project(home / "project", InProcessEngine(MemoryKeyProvider(), home / "states"))
    (project.folder / "out").mkdir(parents=True)
    plugins = home / "pulumi" / "plugins" / "resource-things-v1.2.3"
    plugins.mkdir(parents=True)
    program = plugins / "pulumi-resource-things"
    program.write_text(f"#!{sys.executable}\n" + PLUGIN.read_text())
    program.chmod(0o755)
    project.options = {"environment": {"PULUMI_HOME": str(home / "pulumi")}}
    write(project, text)
    return project


def write(project: Project, text: str) -> None:
    (project.folder / "Pulumi.yaml").write_text(text.replace("FILE", str(project.folder / "out" / "things.json")))


def things(project: Project) -> Any:
    return json.loads((project.folder / "out" / "things.json").read_text())


async def test_a_yaml_program_makes_things_through_a_plugin_found_on_the_machine(tmp_path: Path) -> None:
    project = yaml_project(tmp_path, PROGRAM)
    plan = await project.preview()
    assert operations(plan) == {"provider": "create", "first": "create", "second": "create"}
    assert step_of(plan, "first").inputs["pin"] == "[secret]"

    made = await project.up()
    assert made.state == "succeeded", made.failures
    assert made.outputs == {"label": "thing-second/thing-first/box", "pin": "[secret]"}
    assert things(project)["thing-second"] == {
        "size": 42,
        "kind": "thing-first/box",
        "text": "of thing-first in dev, ${as is}",
        "json": '{"a":["box",1]}',
        "joined": "a-b",
    }
    assert "1234-5678" not in project.state_file.read_text()
    assert operations(await project.preview()) == {}

    plan = await project.preview(config={"size": "4"})
    assert operations(plan) == {"first": "update"}
    write(project, PROGRAM.replace("kind: box", "kind: crate"))
    plan = await project.preview()
    assert operations(plan) == {"first": "replace", "second": "replace"}
    assert step_of(plan, "first").replacement_reasons[0].key == "kind"
    assert (await project.destroy()).state == "succeeded"
    assert things(project) == {}


async def test_what_does_not_come_up_is_kept_and_mended_next_time(tmp_path: Path) -> None:
    text = PROGRAM[: PROGRAM.index("  second:")].replace("kind: box", "kind: broken")
    project = yaml_project(tmp_path, text)
    failed = await project.up()
    assert failed.state == "failed"
    assert "it is broken" in failed.failures[0][1]
    state = await project.engine.state(project.request().ref)
    assert next(one for one in state.resources if one.name == "first").init_errors == ("it is broken",)
    assert operations(await project.preview()) == {"first": "update"}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("${first.label}", "${nobody.label}", "second refers to 'nobody'"),
        ("kind: box", 'kind: "${second.kind}"', "first, second refer to one another in a circle"),
        ("kind: box", 'kind: "${first"', "has a reference that is not closed"),
        ("outputs:", "outputz:", "a section 'outputz'"),
    ],
)
async def test_a_yaml_program_that_is_wrong_is_refused_where_it_is(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    project = yaml_project(tmp_path, PROGRAM.replace(before, after))
    with pytest.raises(CallerError, match=message):
        await project.preview()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"${size}"', "null\n    # ", "first"),
        ('{"fn::toJSON"', '{"fn::magic"', "fn::magic is not supported"),
        ("dependsOn", "hooks", "The option 'hooks' is not supported"),
    ],
)
async def test_what_a_program_asks_in_vain_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = PROGRAM.replace(before, after) if before != '"${size}"' else PROGRAM.replace('size: "${size}", ', "")
    project = yaml_project(tmp_path, text)
    with pytest.raises(EngineError, match=message):
        await project.preview()


async def test_a_plugin_that_is_not_there_is_named_with_what_installs_it(tmp_path: Path) -> None:
    project = yaml_project(tmp_path, PROGRAM)
    shutil.rmtree(tmp_path / "pulumi")
    with pytest.raises(EngineMissing, match="provider plugin of things") as missing:
        await project.preview()
    assert "pulumi plugin install resource things" in str(missing.value.hint)


PACK = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy, StackValidationPolicy

def short(args, report):
    if len(str(args.props.get("text", ""))) > 8:
        report("the text is too long: " + args.props["text"])

def few(args, report):
    if len(args.resources) > 1:
        report("there are too many")

PolicyPack("house", policies=[
    ResourceValidationPolicy("short-texts", "Texts are short.", short, EnforcementLevel.MANDATORY),
    StackValidationPolicy("few-things", "Stacks are small.", few, EnforcementLevel.ADVISORY),
])
"""


async def test_a_policy_packs_verdicts_are_in_the_plan_and_mandatory_ones_forbid_it(tmp_path: Path) -> None:
    project = Project.python(tmp_path, 'File("a", config.get("word") or "short")\nFile("b", "b")\n')
    project.engine = InProcessEngine(MemoryKeyProvider(), tmp_path / "states")
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\nversion: 1.0.0\n")
    (pack / "__main__.py").write_text(PACK)
    project.options = {"policy_packs": (pack,)}

    plan = await project.preview(config={"word": "far too long"})
    told = {(verdict.pack, verdict.rule, verdict.level, verdict.message) for verdict in plan.verdicts}
    assert ("house", "short-texts", "mandatory") in {one[:3] for one in told}
    assert ("house", "few-things", "advisory") in {one[:3] for one in told}
    assert not plan.applicable
    with pytest.raises(Conflict, match="Policy house/short-texts forbids the plan"):
        await project.engine.up(project.request(config={"word": "far too long"}), plan.digest)
    assert project.files() == {}
    assert (await project.up()).state == "succeeded"

    (pack / "__main__.py").write_text("raise RuntimeError('no pack today')\n")
    with pytest.raises(EngineError, match="The policy pack pack did not start"):
        await project.preview()
    with pytest.raises(CallerError, match="holds no policy pack"):
        await project.preview(policy_packs=(tmp_path,))

"""The `Engine` port, on real programs in processes of their own: what is planned, what is done, what is kept."""

import json
import os
import signal
from pathlib import Path

import anyio
import pytest
from reference.stacks import Project, operations, step_of
from reference.state_schema import state_problems

from quantum_suite.core.errors import CallerError, Conflict, Damaged, EngineError, Unavailable
from quantum_suite.services.infrastructure.interface import ImportRequest, StepReport
from quantum_suite.services.infrastructure.state.files import FileStateStore

pytestmark = pytest.mark.anyio

SHOP = """
word = config.get("word") or "hello"
first = File("first", word)
second = File("second", first.size.apply(lambda size: f"size {size}"))
kept = File("kept", pulumi.Output.secret("hunter2-hunter2"), pulumi.ResourceOptions(parent=first))
print("the word is hunter2-hunter2")
pulumi.export("size", first.size)
pulumi.export("kept", kept.text)
"""


async def test_a_stack_is_planned_made_left_alone_changed_and_destroyed(tmp_path: Path) -> None:
    project = Project.python(tmp_path, SHOP)

    plan = await project.preview()
    assert project.files() == {}
    assert operations(plan) == {"first": "create", "second": "create", "kept": "create"}
    assert step_of(plan, "second").inputs["text"] == "[unknown]"
    assert step_of(plan, "kept").inputs["text"] == "[secret]"
    assert plan.outputs == {"size": "[unknown]", "kept": "[secret]"}
    assert plan.messages == ("the word is [secret]",)
    assert "hunter2" not in plan.model_dump_json()

    reports: list[StepReport] = []

    async def told(report: StepReport) -> None:
        reports.append(report)

    made = await project.engine.up(project.request(), plan.digest, told)
    assert (made.state, dict(made.done)) == ("succeeded", {"create": 3})
    assert project.files() == {"first": "hello", "kept": "hunter2-hunter2", "second": "size 5"}
    assert made.outputs == {"size": 5, "kept": "[secret]"}
    assert [(report.done, report.total) for report in reports if report.state == "done"] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    document = json.loads(project.state_file.read_text())
    assert state_problems(document) == []
    assert "hunter2" not in project.state_file.read_text()
    before = project.state_file.read_bytes()

    again = await project.up()
    assert (again.state, dict(again.done)) == ("succeeded", {})
    assert project.state_file.read_bytes() == before

    plan = await project.preview(config={"word": "goodbye"})
    assert operations(plan) == {"first": "update", "second": "update"}
    (change,) = step_of(plan, "first").changes
    assert (change.path, change.old, change.new) == ("text", "hello", "goodbye")
    assert [urn.rpartition("::")[2] for urn in step_of(plan, "first").blast_radius] == ["kept", "second"]

    order: list[str] = []

    async def in_order(report: StepReport) -> None:
        if report.state == "done":
            order.append(report.urn.rpartition("::")[2])

    plan = await project.preview("destroy")
    await project.engine.destroy(project.request(), plan.digest, in_order)
    assert project.files() == {}
    assert order[-1] == "first"
    assert (await project.engine.state(project.request().ref)).resources == ()


async def test_what_was_approved_is_what_runs_or_the_difference_is_named(tmp_path: Path) -> None:
    project = Project.python(tmp_path, SHOP)
    plan = await project.preview()
    engine = project.engine
    told = type(engine)(engine.keys, engine.state_dir, approved_plans=lambda _: plan.model_dump(mode="json"))

    with pytest.raises(Conflict, match="configuration has changed") as refused:
        await told.up(project.request(config={"word": "other"}), plan.digest)
    assert "first" in refused.value.message
    project.rewrite(SHOP + "File('extra', 'x')\n")
    with pytest.raises(Conflict, match=r"program's files have changed.*extra .* is new in the plan: create"):
        await told.up(project.request(), plan.digest)
    assert project.files() == {}

    # A program that does otherwise when it is in earnest gets no further than the plan.
    project.rewrite("File('one', 'dry' if pulumi.runtime.is_dry_run() else 'wet')\n")
    done = await project.up()
    assert done.state == "failed"
    assert "not those of the approved plan" in done.failures[0][1]
    assert project.files() == {}


async def test_a_path_that_changes_replaces_the_file_and_its_old_one_goes_last(tmp_path: Path) -> None:
    program = """
a = File("a", "text", path=config.get("path") or "a", opts=pulumi.ResourceOptions(
    delete_before_replace=config.get_bool("first")))
File("b", a.path)
"""
    project = Project.python(tmp_path, program)
    await project.up()

    plan = await project.preview(config={"path": "a2"})
    step = step_of(plan, "a")
    assert (step.operation, step.replace_order) == ("replace", "create_before_delete")
    assert [(reason.key, reason.why) for reason in step.replacement_reasons] == [
        ("path", "its provider cannot change it in place")
    ]
    assert step.changes[0].forces_replacement
    done = await project.up(config={"path": "a2"})
    assert (done.state, dict(done.done)) == ("succeeded", {"replace": 1, "update": 1})
    assert sorted(project.files()) == ["a2", "b"]

    plan = await project.preview(config={"path": "a3", "first": "true"})
    assert step_of(plan, "a").replace_order == "delete_before_create"
    done = await project.up(config={"path": "a3", "first": "true"})
    assert done.state == "succeeded", done.failures
    assert sorted(project.files()) == ["a3", "b"]
    state = await project.engine.state(project.request().ref)
    assert not any(one.delete or one.pending_replacement for one in state.resources)


async def test_drift_is_found_refresh_accepts_it_and_up_takes_it_back(tmp_path: Path) -> None:
    project = Project.python(tmp_path, 'File("a", "text")\nFile("b", "text")\n')
    await project.up()
    (project.folder / "out" / "a").write_text("by hand")
    (project.folder / "out" / "b").unlink()

    plan = await project.preview("refresh")
    assert {(drift.name, drift.kind) for drift in plan.drift} == {("a", "changed"), ("b", "missing")}
    plan = await project.preview(refresh=True)
    assert operations(plan) == {"a": "update", "b": "create"}
    await project.up(refresh=True)
    assert project.files() == {"a": "text", "b": "text"}

    (project.folder / "out" / "a").unlink()
    refreshed = await project.engine.refresh(project.request())
    assert refreshed.state == "succeeded"
    state = await project.engine.state(project.request().ref)
    assert [one.name for one in state.resources if one.type.endswith(":Resource")] == ["b"]


async def test_a_file_that_exists_is_not_taken_over_but_can_be_imported(tmp_path: Path) -> None:
    project = Project.python(tmp_path, 'File("a", "text")\nFile("b", "text")\n')
    (project.folder / "out" / "a").write_text("text")

    done = await project.up()
    assert done.state == "failed"
    assert any("exists already, and this stack did not make it" in message for _, message in done.failures)
    urn = step_of(await project.preview(), "a").urn
    taken = await project.engine.import_(
        project.request(import_=ImportRequest(urn, str(project.folder / "out" / "a")))
    )
    assert taken.state == "succeeded", taken.failures
    assert (await project.up()).state == "succeeded"
    assert operations(await project.preview()) == {}


DEADLY = """
class Deadly(FileProvider):
    def create(self, props):
        made = super().create(props)
        if not Path("out/.died").exists():
            Path("out/.died").write_text("")
            DIE
        return made

File("a", "text", provider=Deadly())
"""
"""The provider makes the file, and nobody hears of it."""


async def _found_again(project: Project) -> None:
    state = await project.engine.state(project.request().ref)
    assert [(one.type, one.resource.name) for one in state.pending] == [("creating", "a")]
    done = await project.up()
    assert (done.state, list(done.pending)) == ("succeeded", [])
    (project.folder / "out" / ".died").unlink()
    assert project.files() == {"a": "text"}
    assert operations(await project.preview()) == {}


async def test_what_a_killed_provider_made_is_found_again_and_made_once(tmp_path: Path) -> None:
    project = Project.python(tmp_path, DEADLY.replace("DIE", "os.kill(os.getpid(), 9)"))
    failed = await project.up()
    assert failed.state == "failed"
    assert [urn.rpartition("::")[2] for urn in failed.pending] == ["a"]
    assert state_problems(json.loads(project.state_file.read_text())) == []
    await _found_again(project)


async def test_what_was_made_when_the_engine_was_killed_is_found_again_and_made_once(tmp_path: Path) -> None:
    project = Project.python(tmp_path, DEADLY.replace("DIE", "__import__('time').sleep(60)"))
    plan = await project.preview()

    async def kill() -> None:
        while not (project.folder / "out" / ".died").exists():
            await anyio.sleep(0.02)
        os.kill(_worker(), signal.SIGKILL)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill)
        with pytest.raises(EngineError, match="ended before it answered"):
            await project.engine.up(project.request(), plan.digest)
    await _found_again(project)


def _worker() -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                _, parent, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(parent) == os.getpid() and b"embedded.worker" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError("there is no worker")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise RuntimeError('no luck with hunter2-hunter2')", r"RuntimeError: no luck with \[secret\]"),
        ("import time\ntime.sleep(1000)", "did not"),
        ("import os\nos.fork()\nos.kill(os.getpid(), 9)", "ended"),
    ],
)
async def test_a_program_that_raises_hangs_or_dies_is_reported_with_its_secrets_masked(
    tmp_path: Path, program: str, message: str
) -> None:
    project = Project.python(tmp_path, f"pulumi.Output.secret('x')\n{program}\n")
    request = project.request(
        config={"password": "hunter2-hunter2"}, secret_config=frozenset({"password"}), deadline_seconds=8
    )
    with pytest.raises(EngineError, match=message) as failed:
        await project.engine.preview(request)
    assert "hunter2" not in failed.value.printed


async def test_a_protected_resource_keeps_a_plan_from_being_applied(tmp_path: Path) -> None:
    project = Project.python(tmp_path, 'File("a", "text", pulumi.ResourceOptions(protect=True))\n')
    await project.up()
    project.rewrite("")

    plan = await project.preview()
    assert [problem.code for problem in plan.problems] == ["protected"]
    assert not plan.applicable
    with pytest.raises(Conflict, match="a is protected"):
        await project.engine.up(project.request(), plan.digest)
    assert project.files() == {"a": "text"}


async def test_a_state_cut_in_half_names_its_backup_and_one_writer_is_let_in(tmp_path: Path) -> None:
    project = Project.python(tmp_path, 'File("a", config.get("word") or "text")\n')
    await project.up()
    await project.up(config={"word": "other"})
    whole = project.state_file.read_bytes()
    project.state_file.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(Damaged, match=r"dev\.json cannot be used") as damaged:
        await project.preview()
    assert "dev.json.bak" in str(damaged.value.hint)
    project.state_file.with_suffix(".json.bak").replace(project.state_file)
    plan = await project.preview(refresh=True, config={"word": "other"})
    assert [drift.name for drift in plan.drift] == ["a"]
    assert operations(plan) == {}

    store = FileStateStore(project.engine.state_dir)
    async with store.locked(project.request().ref):
        with pytest.raises(Unavailable, match="Another run is at work"):
            async with store.locked(project.request().ref):
                raise AssertionError("two writers")


async def test_folders_and_stacks_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    project = Project.python(tmp_path, "")
    (project.folder / "Pulumi.yaml").write_text("name: shop\nruntime: go\n")
    with pytest.raises(CallerError, match="its runtime is 'go'"):
        await project.preview()
    (project.folder / "Pulumi.yaml").unlink()
    with pytest.raises(CallerError, match=r"holds no Pulumi\.yaml"):
        await project.preview()

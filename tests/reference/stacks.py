"""Pulumi projects for tests: programs with a dynamic provider of files, and an engine to run them with."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.infrastructure.embedded.engine import EmbeddedEngine
from quantum_suite.services.infrastructure.embedded.order import Answer, Order, answer_of, answer_to_json, order_of
from quantum_suite.services.infrastructure.embedded.running import Running
from quantum_suite.services.infrastructure.interface import Progress, RunOutcome, StackRef, StackRequest
from quantum_suite.services.infrastructure.plan import Plan, PlanKind, PlannedStep
from quantum_suite.services.sandbox.opening import best_sandbox

PROVIDER = '''
import os, pulumi
from pathlib import Path
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult
from pulumi.dynamic import Resource, ResourceProvider


class FileProvider(ResourceProvider):
    """Files by path: another path is another file, its text can be changed."""

    def check(self, _olds, news):
        return CheckResult({**news, "__identity": news["path"]}, [])

    def diff(self, _id, olds, news):
        changed = [key for key in ("path", "text") if olds.get(key) != news.get(key)]
        return DiffResult(changes=bool(changed), replaces=["path"] if "path" in changed else [])

    def create(self, props):
        Path(props["path"]).write_text(props["text"])
        return CreateResult(props["path"], {**props, "size": len(props["text"])})

    def update(self, id_, _olds, news):
        Path(id_).write_text(news["text"])
        return UpdateResult({**news, "size": len(news["text"])})

    def delete(self, id_, _props):
        Path(id_).unlink()

    def read(self, id_, props):
        path = Path(id_)
        if not path.exists():
            return ReadResult(None, {})
        text = path.read_text()
        now = {"path": id_, "text": text}
        return ReadResult(id_, {**props, **now, "size": len(text)}, now)


class File(Resource):
    path: pulumi.Output[str]
    text: pulumi.Output[str]
    size: pulumi.Output[int]

    def __init__(self, name, text, opts=None, path=None, provider=None):
        path = str(Path("out").resolve() / (path or name))
        super().__init__(provider or FileProvider(), name, {"path": path, "text": text, "size": None}, opts)


config = pulumi.Config()
'''


class InProcessEngine(EmbeddedEngine):
    """The engine without a process of its own: what its worker does happens here."""

    async def _asked(
        self, request: StackRequest, verb: str, progress: Progress, *, kind: PlanKind = "update", digest: str = ""
    ) -> Answer:
        keys = (await self.keys.current(),)
        order = Order(verb, kind, request, keys, self.state_dir, digest)
        # As it travels to the worker and back.
        order = order_of(json.loads(json.dumps(order.as_json())))
        running = Running(order, (await best_sandbox()).sandbox, progress)
        return answer_of(json.loads(json.dumps(answer_to_json(await running.answer()))))


@dataclass
class Project:
    """A project in a folder, with an engine of its own."""

    folder: Path
    engine: EmbeddedEngine
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def python(cls, home: Path, program: str, name: str = "shop") -> "Project":
        """Write a Python project whose program has `File` and `config` at hand."""
        project = cls(home / "project", EmbeddedEngine(MemoryKeyProvider(), home / "states"))
        (project.folder / "out").mkdir(parents=True)
        (project.folder / "Pulumi.yaml").write_text(f"name: {name}\nruntime: python\n")
        project.rewrite(program)
        return project

    def rewrite(self, program: str) -> None:
        """Replace the program."""
        (self.folder / "__main__.py").write_text(PROVIDER + program)

    def request(self, **options: Any) -> StackRequest:
        """Return a request for the stack `dev`."""
        request = StackRequest(StackRef(self.folder, "dev"), deadline_seconds=100)
        return dataclasses.replace(request, **{**self.options, **options})

    async def preview(self, kind: PlanKind = "update", **options: Any) -> Plan:
        """Plan."""
        return await self.engine.preview(self.request(**options), kind=kind)

    async def up(self, **options: Any) -> RunOutcome:
        """Plan, and apply the plan."""
        plan = await self.preview(**options)
        return await self.engine.up(self.request(**options), plan.digest)

    async def destroy(self, **options: Any) -> RunOutcome:
        """Plan, and destroy."""
        plan = await self.preview("destroy", **options)
        return await self.engine.destroy(self.request(**options), plan.digest)

    def files(self) -> dict[str, str]:
        """Return what there is in the world."""
        return {path.name: path.read_text() for path in sorted((self.folder / "out").iterdir())}

    @property
    def state_file(self) -> Path:
        """Where the state is."""
        return next(iter((self.engine.state_dir).glob("*/dev.json")))


def step_of(plan: Plan, name: str) -> PlannedStep:
    """Return what a plan does with a resource."""
    return next(step for step in plan.steps if step.name == name)


def operations(plan: Plan) -> Mapping[str, str]:
    """Return by name what a plan does, but for what stays."""
    return {step.name: step.operation for step in plan.changes if step.custom}

"""Composite workflows as a whole: which there are, whether one is right, and how it is started and run."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import EventData
from quantum_suite.core.principals import Role
from quantum_suite.services.definitions.interface import DefinitionStore, StoredDefinition, definition_not_found
from quantum_suite.services.workflows.composite.actions import Action
from quantum_suite.services.workflows.composite.checking import Surroundings, check_definition
from quantum_suite.services.workflows.composite.interpreter import INTERPRETER_VERSION, Interpreter
from quantum_suite.services.workflows.composite.model import Definition
from quantum_suite.services.workflows.composite.problems import InvalidDefinition
from quantum_suite.services.workflows.composite.reading import read_definition
from quantum_suite.services.workflows.composite.schemas import problems_of_inputs
from quantum_suite.services.workflows.composite.shipped import shipped_sources
from quantum_suite.services.workflows.composite.steps import read_steps
from quantum_suite.services.workflows.interface import Body, Json, Owner, Run, RunContext, StepContext, Workflow
from quantum_suite.services.workflows.tool_calls import ToolCalls
from quantum_suite.services.workflows.tool_catalogue import ToolCatalogue, ToolOffer
from quantum_suite.services.yaml_nodes import Problem

COMPOSITE = "composite"
"""The workflow that runs definitions of users: its arguments name the definition, its version and the inputs."""

_MOST_READ = 512
"""Definitions that are remembered as read."""


@dataclass(frozen=True, slots=True)
class Known:
    """A definition somebody may start."""

    name: str
    version: int
    source: str
    stored: StoredDefinition | None = None
    """None for those that come with the suite."""


@dataclass(frozen=True, slots=True)
class Start:
    """What to give to `Workflows.start`."""

    workflow: str
    arguments: Json


class Composites:
    """Reads, checks, keeps and runs definitions. Register `workflows()` with the engine."""

    def __init__(
        self,
        calls: ToolCalls,
        definitions: DefinitionStore,
        actions: Sequence[Action],
        catalogue: ToolCatalogue | None = None,
        events: Mapping[str, type[EventData]] | None = None,
    ) -> None:
        """`catalogue` and `events` (those that may start workflows) are what definitions are checked against."""
        self._definitions = definitions
        self._actions = {action.name: action for action in actions}
        self._catalogue = catalogue
        self._events = events
        self._interpreter = Interpreter(calls, self._actions, self._find_child)
        self._read: OrderedDict[str, Definition] = OrderedDict()
        self._shipped = {name: Known(name, version, text) for name, (version, text) in shipped_sources().items()}

    def workflows(self) -> tuple[Workflow, ...]:
        """Return what the engine must know: every shipped definition under its name, and `composite`."""
        shipped = [
            Workflow(
                name=known.name,
                body=self._shipped_body(known),
                version=f"{known.version}.{INTERPRETER_VERSION}",
                description=f"Comes with the suite: {known.name}.",
            )
            for known in self._shipped.values()
        ]
        return (*shipped, Workflow(COMPOSITE, self._composite_body, version=INTERPRETER_VERSION))

    async def check(self, source: str, owner: Owner) -> tuple[Definition, list[Problem]]:
        """Read a text and check it against what the owner can use; returns it with warnings and errors.

        Raises InvalidDefinition when it cannot be read at all.
        """
        definition, problems = await anyio.to_thread.run_sync(read_definition, source, read_steps)
        tools = None if self._catalogue is None else await self._catalogue.offers(owner)
        around = Surroundings(self._actions, tools, await self._graph(definition, owner), self._events)
        found = {*problems, *await anyio.to_thread.run_sync(check_definition, definition, around)}
        return definition, sorted(found, key=lambda problem: (problem.line, problem.column, problem.message))

    async def define(self, source: str, owner: Owner) -> tuple[StoredDefinition, list[Problem]]:
        """Keep a definition under its name; returns it with the warnings. An admin's is shared with everybody.

        Raises InvalidDefinition with all that is wrong, and Conflict as the store does.
        """
        definition, problems = await self.check(source, owner)
        if any(problem.severity == "error" for problem in problems):
            raise InvalidDefinition(problems)
        if definition.name in self._shipped or definition.name == COMPOSITE:
            raise CallerError(
                f"The name '{definition.name}' belongs to the suite.", "Choose another one.", argument="definition"
            )
        stored = await self._definitions.put(
            definition.name, source, owner.principal, version=definition.version, shared=_is_admin(owner)
        )
        return stored, problems

    async def offers(self, owner: Owner) -> Mapping[str, ToolOffer]:
        """Return the tools that steps of the owner's definitions can call; none where no catalogue was given."""
        return {} if self._catalogue is None else await self._catalogue.offers(owner)

    async def known(self, owner: Owner) -> list[Known]:
        """Return the newest version of every definition somebody may start, shipped ones first."""
        stored = await self._definitions.newest(None if _is_admin(owner) else owner.principal)
        return [*self._shipped.values(), *(Known(one.name, one.version, one.source, one) for one in stored)]

    async def described(
        self, owner: Owner, *, limit: int, after: str | None = None
    ) -> tuple[list[tuple[Known, Definition]], str | None]:
        """Return a page of what `known` returns, each with what it says of itself, and the name to go on after."""
        known = await self.known(owner)
        names = [one.name for one in known]
        if after is not None and after not in names:
            raise CallerError("The cursor names no definition.", "Begin again without one.", argument="cursor")
        start = 0 if after is None else names.index(after) + 1
        page = known[start : start + limit]
        more = page[-1].name if start + limit < len(known) else None
        return [(one, await self.read(one.source)) for one in page], more

    async def find(self, name: str, owner: Owner, version: int | None = None) -> Known:
        """Return a definition; raises NotFound, also for one that somebody else keeps to themselves."""
        shipped = self._shipped.get(name)
        if shipped is not None and version in (None, shipped.version):
            return shipped
        stored = await self._definitions.get(name, version)
        if not (stored.shared or stored.owner == owner.principal or _is_admin(owner)):
            raise definition_not_found(name, version)
        return Known(stored.name, stored.version, stored.source, stored)

    async def remove(self, name: str, owner: Owner) -> None:
        """Drop the versions of a definition that have not run; raises NotFound, also for somebody else's."""
        known = await self.find(name, owner)
        if known.stored is None or not (known.stored.owner == owner.principal or _is_admin(owner)):
            raise definition_not_found(name)
        await self._definitions.remove(name)

    async def start(
        self, name: str, inputs: Mapping[str, Json], owner: Owner, version: int | None = None
    ) -> Start:
        """Check inputs against a definition and return what to start; from here on that version does not change.

        Raises NotFound, and CallerError with all that is wrong with the inputs.
        """
        known = await self.find(name, owner, version)
        check_inputs(await self.read(known.source), inputs)
        if known.stored is None:
            return Start(known.name, dict(inputs))
        marked = await self._definitions.mark_run(known.name, known.version)
        return Start(COMPOSITE, {"definition": marked.name, "version": marked.version, "inputs": dict(inputs)})

    async def of_run(self, run: Run) -> Definition | None:
        """Return the definition a run began with; None for runs of other workflows."""
        if run.workflow in self._shipped:
            return await self.read(self._shipped[run.workflow].source)
        if run.workflow != COMPOSITE:
            return None
        stored = await self._definitions.get(run.arguments["definition"], run.arguments["version"])
        return await self.read(stored.source)

    async def read(self, source: str) -> Definition:
        """Read a text that was found right before, or is remembered."""
        digest = hashlib.sha256(source.encode()).hexdigest()
        known = self._read.get(digest)
        if known is None:
            known = await anyio.to_thread.run_sync(_read_right, source)
        self._read[digest] = known
        self._read.move_to_end(digest)
        while len(self._read) > _MOST_READ:
            self._read.popitem(last=False)
        return known

    def _shipped_body(self, known: Known) -> Body:
        async def body(context: RunContext, arguments: Json) -> Json:
            return await self._run(await self.read(known.source), context, arguments)

        return body

    async def _composite_body(self, context: RunContext, arguments: Json) -> Json:
        async def load(_: StepContext) -> Json:
            return (await self._definitions.get(arguments["definition"], arguments["version"])).source

        source = await context.step("definition", load)
        return await self._run(await self.read(source), context, arguments["inputs"])

    async def _run(self, definition: Definition, context: RunContext, inputs: Json) -> Json:
        check_inputs(definition, inputs)
        return await self._interpreter.run(definition, context, inputs)

    async def _find_child(self, context: RunContext, name: str, inputs: Json) -> tuple[str, Json]:
        """Say what a `workflow:` step starts. Looking it up is a step: the answer may be another one tomorrow."""
        if name in self._shipped:
            return name, inputs

        async def look_up(_: StepContext) -> Json:
            start = await self.start(name, inputs, context.owner)
            return {"workflow": start.workflow, "arguments": start.arguments}

        found = await context.step(f"find {name}", look_up)
        return found["workflow"], found["arguments"]

    async def _graph(self, definition: Definition, owner: Owner) -> dict[str, frozenset[str]]:
        """Return every name there is; those that the definition leads to with what they start."""
        known = {one.name: one for one in await self.known(owner)}
        graph: dict[str, frozenset[str]] = dict.fromkeys(known, frozenset())
        waiting = sorted(definition.children & known.keys())
        seen = set(waiting)
        while waiting and len(seen) <= _MOST_READ:
            name = waiting.pop()
            graph[name] = (await self.read(known[name].source)).children
            new = sorted((graph[name] & known.keys()) - seen)
            seen.update(new)
            waiting.extend(new)
        return graph


def _read_right(source: str) -> Definition:
    definition, problems = read_definition(source, read_steps)
    if problems:
        raise InvalidDefinition(problems)
    return definition


def check_inputs(definition: Definition, inputs: Json) -> None:
    """Raise CallerError with all that is wrong with the inputs of a run."""
    given = (
        {name: value for name, value in inputs.items() if value is not None}
        if isinstance(inputs, dict)
        else inputs
    )
    problems = problems_of_inputs(given, definition.node, definition.input_schema())
    if problems:
        told = " ".join(f"{problem.path}: {problem.message} {problem.hint}".strip() for problem in problems)
        raise CallerError(f"The inputs do not fit '{definition.name}'. {told}", argument="inputs")


def _is_admin(owner: Owner) -> bool:
    return Role.ADMIN in owner.roles

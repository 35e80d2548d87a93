"""Puts together what one needs to know before a change, within a budget: rules, map, code, tests, risks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import NotFound, SuiteError
from quantum_suite.core.masking import mask_text
from quantum_suite.core.principals import Principal
from quantum_suite.services.knowledge.interface import Hit, Knowledge, SearchRequest
from quantum_suite.services.testing.interface import ReachMap
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.services.validators.safeguards import is_test_file
from quantum_suite.tools.qagent.judge_change import report_uri
from quantum_suite.tools.qagent.read_rules import read_rules
from quantum_suite.tools.qagent.workshop import Progress, Workshop

PLAN = "plan"
CHARACTERS_A_TOKEN = 4
_HITS = 24
_RULES_SHARE, _MAP_SHARE = 0.2, 0.15
_MANY_USES = 15
_MOST_TESTS = 40
_SYMBOLS_LOOKED_AT = 6


class TouchedSymbol(BaseModel):
    """A definition the change will probably concern."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its qualified name.")
    place: str = Field(description="File and line.")
    uses: int | None = Field(default=None, description="How often it is used elsewhere, where it was looked up.")


class ContextPack(BaseModel):
    """What one needs to know before a change."""

    model_config = ConfigDict(frozen=True)

    plan: str = Field(description="The pack's id.")
    root: str = Field(description="The workspace.")
    tokens: int = Field(description="Size of the context, estimated: a token for every four characters.")
    symbols: tuple[TouchedSymbol, ...] = Field(description="Definitions the goal speaks of, likeliest first.")
    tests: tuple[str, ...] = Field(description="Tests that reach them, or test files that speak of them.")
    risks: tuple[str, ...] = Field(description="What could go wrong, from what was measured.")
    acceptance_checks: tuple[str, ...] = Field(description="What the change will be judged by, in order.")
    rules: tuple[str, ...] = Field(description="The project's own instruction files, quoted in the context.")
    caveats: tuple[str, ...] = Field(description="What the pack does not know.")
    context: str = Field(description="URI of the context: rules, map and code.")


@dataclass(frozen=True, slots=True)
class Plan:
    """A context pack and the context itself."""

    pack: ContextPack
    context: str
    rules: str
    files: tuple[str, ...] = ()
    """Whose code the context shows."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes context packs."""

    knowledge: Knowledge | None
    workshop: Workshop
    records: ReportStore
    reach: ReachMap | None = None

    async def plan(
        self, root: Path, goal: str, token_budget: int, principal: Principal, progress: Progress
    ) -> Plan:
        """Return what is known about a goal, at most `token_budget` tokens of context."""
        rules = await anyio.to_thread.run_sync(read_rules, root)
        budget = token_budget * CHARACTERS_A_TOKEN
        shown_rules = rules.text(int(budget * _RULES_SHARE))
        hits, overview, caveats = await self._known(root, goal, int(token_budget * _MAP_SHARE), progress)
        left = budget - len(shown_rules) - len(overview)
        code, used = _code(hits, left)
        symbols = await self._symbols(root, used)
        tests = await self._tests(root, used, hits)
        tools = await self.workshop.tools()
        context = _context(shown_rules, overview, code)
        risks = _risks(symbols, tests, used)
        checks = _checks(tools.judge.gates)
        record = await self.records.save(
            principal, PLAN, root, {"goal": goal[:500], "risks": list(risks)}, {"context": context.encode()}
        )
        pack = ContextPack(
            plan=record.id,
            root=str(root),
            tokens=-(-len(context) // CHARACTERS_A_TOKEN),
            symbols=symbols,
            tests=tests,
            risks=risks,
            acceptance_checks=checks,
            rules=tuple(file.path for file in rules.files),
            caveats=caveats,
            context=report_uri(record.id, "context"),
        )
        files = tuple(dict.fromkeys(hit.chunk.path for hit in used))
        return Plan(pack, context, shown_rules, files)

    async def _known(
        self, root: Path, goal: str, map_tokens: int, progress: Progress
    ) -> tuple[Sequence[Hit], str, tuple[str, ...]]:
        if self.knowledge is None:
            return (), "", ("There is no index here: the context holds the project's rules alone.",)
        request = SearchRequest(root=root, query=goal, limit=_HITS)
        try:
            try:
                answer = await self.knowledge.search(request)
            except NotFound:
                await progress(0, 1, "indexing the workspace")
                await self.knowledge.index(root, progress)
                answer = await self.knowledge.search(request)
            focus = tuple(dict.fromkeys(hit.chunk.path for hit in answer.hits[:8]))
            overview = await self.knowledge.repository_map(root, max(100, map_tokens), focus)
        except SuiteError as error:
            return (), "", (f"The index could not be asked: {error}",)
        return answer.hits, overview.text, tuple(answer.caveats)

    async def _symbols(self, root: Path, hits: Sequence[Hit]) -> tuple[TouchedSymbol, ...]:
        found: dict[str, TouchedSymbol] = {}
        for hit in hits:
            chunk = hit.chunk
            if chunk.kind in ("function", "method", "class") and not is_test_file(chunk.path):
                uses = None
                if len(found) < _SYMBOLS_LOOKED_AT:
                    uses = await self._uses(root, chunk.qualified_name)
                place = f"{chunk.path}:{chunk.start_line}"
                found.setdefault(place, TouchedSymbol(name=chunk.qualified_name, place=place, uses=uses))
        return tuple(found.values())

    async def _uses(self, root: Path, name: str) -> int | None:
        """Return how often a name is certainly used, or None where the index does not say."""
        if self.knowledge is None:
            return None
        try:
            return sum(reference.certain for reference in await self.knowledge.find_references(root, name))
        except SuiteError:
            return None

    async def _tests(self, root: Path, used: Sequence[Hit], hits: Sequence[Hit]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for hit in used:
            chunk = hit.chunk
            if self.reach is None or is_test_file(chunk.path):
                continue
            lines = await self.reach.tests_reaching(root, chunk.path)
            for line in range(chunk.start_line, chunk.end_line + 1):
                found.update(dict.fromkeys(sorted(lines.get(line, ()))))
        found.update(dict.fromkeys(hit.chunk.path for hit in hits if is_test_file(hit.chunk.path)))
        return tuple(found)[:_MOST_TESTS]


def _code(hits: Sequence[Hit], most_characters: int) -> tuple[str, list[Hit]]:
    """Return the best chunks that fit, whole ones, and which they are."""
    parts: list[str] = []
    used: list[Hit] = []
    left = most_characters
    for hit in hits:
        chunk = hit.chunk
        part = f"### {chunk.path}:{chunk.start_line}-{chunk.end_line}\n{chunk.text.rstrip()}\n"
        if len(part) <= left:
            parts.append(part)
            used.append(hit)
            left -= len(part)
    return "\n".join(parts), used


def _context(rules: str, overview: str, code: str) -> str:
    parts = [
        ("# The project's own instructions", rules),
        ("# Map", overview),
        ("# Code the goal speaks of", code),
    ]
    text = "\n\n".join(f"{title}\n{body}" for title, body in parts if body)
    return mask_text(text) if text else "Nothing is known of this workspace yet."


def _risks(symbols: Sequence[TouchedSymbol], tests: Sequence[str], used: Sequence[Hit]) -> tuple[str, ...]:
    risks = [
        f"{one.name} ({one.place}) is used in {one.uses} places: a changed signature or result reaches far."
        for one in symbols
        if one.uses is not None and one.uses >= _MANY_USES
    ]
    public = sorted({hit.chunk.path for hit in used if hit.chunk.path.endswith("__init__.py")})
    risks += [f"{path} is what others import from: a name taken away there breaks them." for path in public]
    if symbols and not tests:
        risks.append("No test is known to reach the code the goal speaks of: write one that fails first.")
    if not symbols:
        risks.append("Nothing in the index answers the goal: it may be new ground, or be worded otherwise there.")
    return tuple(risks)


def _checks(gates: Sequence[str]) -> tuple[str, ...]:
    says = {
        "applies": "applies: the patch fits the files byte for byte",
        "syntax": "syntax: every changed file can be read",
        "imports": "imports: what is imported exists, and nothing goes in circles",
        "api": "api: what is called exists in the installed versions",
        "lint": "lint: nothing new by the project's rules",
        "format": "format: the project's layout, if it has a formatter",
        "safeguards": "safeguards: tests and checks are not weakened unseen",
        "security": "security: no new credential, no new insecure code",
        "types": "types: no new error",
        "tests": "tests: nothing fails that passed before, and new tests pass",
    }
    return (
        *(says.get(gate, gate) for gate in gates),
        "a test shows the new behaviour and fails without the change",
    )

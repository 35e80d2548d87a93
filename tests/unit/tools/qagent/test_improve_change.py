"""The loop, with a model whose answers the test chooses: what is tried is how it is measured and when it stops."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from reference.judging import write_project

from quantum_suite.core.errors import CallerError, Unavailable
from quantum_suite.core.principals import LOCAL
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.llm.interface import Finished, ModelAnswer, ModelEvent, ModelRequest, Usage
from quantum_suite.services.mutation.engine import PythonMutationEngine
from quantum_suite.services.prompts.shipped import ShippedPrompts
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.scratch.files import FileScratchSpace
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.services.testing.runners import all_runners
from quantum_suite.services.validators.judge import Judge
from quantum_suite.services.validators.sandboxed import Bench
from quantum_suite.services.validators.syntax import SyntaxValidator
from quantum_suite.services.validators.tests_gate import TestLimits
from quantum_suite.tools.qagent.ask_model import ModelAuthor
from quantum_suite.tools.qagent.generate_code import CodeGenerator
from quantum_suite.tools.qagent.improve_change import Improvement, Improver, Rule, checked_oracle
from quantum_suite.tools.qagent.judge_change import ChangeDesk
from quantum_suite.tools.qagent.oracle import OracleValidator
from quantum_suite.tools.qagent.plan_change import Planner
from quantum_suite.tools.qagent.read_rules import read_rules
from quantum_suite.tools.qagent.workshop import Tools, Workshop

pytestmark = pytest.mark.anyio

ORACLE = {
    "oracle_test.py": "from calc import half, twice\n\n\ndef test_half():\n    assert half(4) == 2\n\n\n"
    "def test_twice():\n    assert twice(4) == 8\n"
}


def block(half: str, twice: str) -> str:
    return (
        "calc.py\n<<<<<<< SEARCH\n=======\n"
        f"def half(x):\n    return {half}\n\n\ndef twice(x):\n    return {twice}\n>>>>>>> REPLACE\n"
    )


RIGHT, HALF_RIGHT, WRONG = block("x // 2", "x * 2"), block("x // 2", "x * 3"), block("x * 9", "x * 9")


@dataclass
class Scripted:
    """A gateway that answers what it is given, in order, and is away then."""

    answers: list[str]
    asked: list[ModelRequest] = field(default_factory=list)
    configured: bool = True

    async def ask(self, request: ModelRequest, principal: str) -> ModelAnswer:
        if len(self.asked) == len(self.answers):
            raise Unavailable("No model answered.")
        text = self.answers[len(self.asked)]
        self.asked.append(request)
        return ModelAnswer(text, Finished("stop", Usage(100, 50, False), "test", "scripted"))

    def stream(
        self, request: ModelRequest, principal: str
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        raise NotImplementedError


async def silent(done: int, total: int, message: str) -> None:
    """Progress that nobody asked for."""


@dataclass
class Desk:
    root: Path
    improver: Improver
    generator: CodeGenerator
    workshop: Workshop
    gateway: Scripted

    async def improve(self, patch: str | None = None, rule: Rule | None = None) -> Improvement:
        tools = await self.workshop.tools()
        oracle = OracleValidator(ORACLE, (), tools.runners, self.workshop.limits)
        return await self.improver.improve(
            self.root, "halve and double", patch, oracle, rule or Rule(), 2_000, LOCAL, silent
        )


async def a_workshop(folder: Path) -> Workshop:
    """Return a workshop whose judge asks one gate before the oracle: the loop is what is tried."""
    folder.mkdir(parents=True)
    choice = await best_sandbox(folder=folder)
    judge = Judge(FileScratchSpace(folder / "copies"), [SyntaxValidator(Bench(choice.sandbox))])
    runners = all_runners(choice.sandbox, folder / "runs")
    tools = Tools(choice, judge, runners, PythonMutationEngine(choice.sandbox, folder))
    return Workshop(folder, MemoryCapacity(1), (), limits=TestLimits(120.0, 20.0), _tools=tools)


@asynccontextmanager
async def desk(tmp_path: Path, *answers: str) -> AsyncIterator[Desk]:
    root = write_project(tmp_path / "project", {"README": "x", "conftest.py": ""})
    workshop = await a_workshop(tmp_path / "qagent")
    records = ReportStore(tmp_path / "records")
    gateway = Scripted(list(answers))
    author = ModelAuthor(gateway, ShippedPrompts())
    planner = Planner(None, workshop, records)
    changes = ChangeDesk(workshop, records)
    improver = Improver(planner, author, changes, records)
    yield Desk(root, improver, CodeGenerator(planner, author, changes), workshop, gateway)


async def test_it_stops_when_a_try_is_accepted_and_reports_the_gain_of_each_round(tmp_path: Path) -> None:
    async with desk(tmp_path, HALF_RIGHT, RIGHT) as one:
        result = await one.improve()
    assert result.stopped == "accepted"
    assert [round_.accepted for round_ in result.rounds] == [False, True]
    assert all(round_.gain > 0 for round_ in result.rounds)
    assert result.rounds[0].refused_at == "oracle"
    assert result.rounds[1].oracle_tests == 2
    assert result.tokens == 300
    assert result.best is not None
    assert (result.best.author, result.best.model) == ("model", "test/scripted")
    # What was wrong is told to the author, and what it may not do.
    assert "test_twice" in one.gateway.asked[1].messages[0].text


async def test_it_stops_without_a_gain_and_keeps_the_best(tmp_path: Path) -> None:
    async with desk(tmp_path, HALF_RIGHT, WRONG, WRONG, RIGHT) as one:
        result = await one.improve()
    assert result.stopped == "no gain"
    assert [round_.gain > 0 for round_ in result.rounds] == [True, False, False]
    assert result.best is not None
    assert result.best.change == result.rounds[0].change


async def test_patience_rounds_and_tokens_are_kept_to(tmp_path: Path) -> None:
    async with desk(tmp_path / "1", WRONG, WRONG, RIGHT) as one:
        assert (await one.improve(rule=Rule(patience=5))).stopped == "accepted"
    async with desk(tmp_path / "2", "nonsense", "nonsense") as one:
        assert (await one.improve(rule=Rule(rounds=2, patience=5))).stopped == "rounds"
    async with desk(tmp_path / "3", WRONG) as one:
        assert (await one.improve(rule=Rule(patience=5, tokens=100))).stopped == "tokens"


async def test_where_mending_gains_nothing_the_model_begins_anew(tmp_path: Path) -> None:
    async with desk(tmp_path, HALF_RIGHT, WRONG, WRONG, WRONG, RIGHT) as one:
        result = await one.improve(rule=Rule(rounds=5, patience=5))
    assert result.stopped == "accepted"
    mended = ["What is wrong with your change" in asked.messages[0].text for asked in one.gateway.asked]
    assert mended == [False, True, False, True, False]
    first, anew = one.gateway.asked[0], one.gateway.asked[2]
    assert first.temperature == 0
    assert anew.temperature is not None
    assert anew.temperature > 0


async def test_a_model_that_stops_answering_costs_no_try_that_was_made(tmp_path: Path) -> None:
    async with desk(tmp_path / "1", HALF_RIGHT) as one:
        result = await one.improve()
    assert result.stopped == "no answer"
    assert "No model answered." in result.message
    assert result.best is not None
    assert result.best.change == result.rounds[0].change
    async with desk(tmp_path / "2") as one:
        with pytest.raises(Unavailable):
            await one.improve()


async def test_an_author_cannot_change_what_measures_it(tmp_path: Path) -> None:
    cheat = WRONG + "\noracle_test.py\n<<<<<<< SEARCH\n=======\ndef test_all():\n    pass\n>>>>>>> REPLACE\n"
    async with desk(tmp_path, "nonsense") as one:
        result = await one.improve(patch=cheat, rule=Rule(rounds=1))
    assert result.rounds[0].refused_at == "oracle"
    assert result.rounds[0].oracle_tests == 2


async def test_a_models_change_meets_the_same_judge(tmp_path: Path) -> None:
    async with desk(tmp_path, f"Here it is:\n```\n{RIGHT}```\nDone.") as one:
        made = await one.generator.generate(one.root, "halve", 2_000, LOCAL, silent)
    assert made.author == "model"
    assert made.change is not None
    assert made.change.accepted, made.change.reason
    assert made.prompt == "generate_change.v3"
    assert not (one.root / "calc.py").exists()


def test_an_oracle_is_required_and_stays_inside() -> None:
    with pytest.raises(CallerError) as none:
        checked_oracle(None, [])
    assert none.value.argument == "oracle_tests"
    with pytest.raises(CallerError) as outside:
        checked_oracle({"../x.py": "x"}, None)
    assert outside.value.argument == "oracle_files"


def test_a_projects_rules_are_read_and_links_that_lead_outside_are_not(tmp_path: Path) -> None:
    key = "AKIA" + "Z7QXW4N2MBL5TRKD"
    (tmp_path / "secret.md").write_text("outside")
    root = write_project(
        tmp_path / "project",
        {
            "AGENTS.md": f"Use tabs. The key is {key}.\n",
            ".cursor/rules/style.mdc": "Short lines.\n",
            ".editorconfig": "root = true\n",
            "CONTRIBUTING.md": "x" * 100_000,
        },
    )
    (root / "CLAUDE.md").symlink_to(tmp_path / "secret.md")
    rules = read_rules(root)
    assert [file.path for file in rules.files] == [
        "AGENTS.md", ".editorconfig", "CONTRIBUTING.md", ".cursor/rules/style.mdc",
    ]  # fmt: skip
    text = rules.text(2_000)
    assert "Use tabs" in text
    assert key not in text
    assert len(text) < 2_500
    assert "(cut: read the file)" in text

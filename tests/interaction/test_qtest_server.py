"""QTest over MCP, through the real hub: runs, coverage, and what a change concerns."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import TextContent
from reference.answers import read, text_of, told
from reference.hub import running_hub
from reference.projects import calculator

from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.qtest import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(home: Path, project: Path) -> AsyncIterator[Client]:
    """Run a hub with QTest over `project` alone, and connect to it."""
    services = Services(
        home / "qtest-data", Workspaces((project,)), MemoryCapacity(2), MemoryEventStore(EventRegistry([]))
    )
    home.mkdir(exist_ok=True)
    extra = [Extra("checks", build(services).server, "checks")]
    async with running_hub(home, {}, extra=extra) as hub, Client(hub.url) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> tuple[dict[str, Any], str]:
    result = await client.call_tool(f"checks_{tool}", {"path": ".", **arguments})
    return told(result), text_of(result)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_tests_are_run_measured_and_chosen_and_the_workspace_stays_as_it_is(tmp_path: Path) -> None:
    root = calculator(tmp_path / "project")
    before = contents(root)
    async with connected(tmp_path / "home", root) as client:
        ran, _ = await call(client, "run_tests")
        assert (ran["passed"], ran["counts"]) == (True, {"passed": 2})
        assert ran["isolation"] in ("bubblewrap", "rlimits")
        assert 'tests="2"' in await read(client, ran["junit"])

        unknown, text = await call(client, "affected_tests")
        assert unknown["everything"]
        assert "measure_coverage" in text

        measured, text = await call(client, "measure_coverage")
        assert measured["map_updated"]
        assert [(gap["function"], gap["missing_lines"]) for gap in measured["gaps"]] == [
            ("add", [3]),
            ("lonely", [12]),
        ]
        assert "risk" in text
        assert "calc.py" in await read(client, measured["html"])
        assert "SF:calc.py" in await read(client, measured["lcov"])
        assert 'filename="calc.py"' in await read(client, measured["cobertura"])
        assert measured["run"] in await read(client, "quantum://qtest/runs/latest")
        assert '"line_rate"' in await read(client, f"quantum://qtest/runs/{measured['run']}")
        with pytest.raises(MCPError, match="no run"):
            await read(client, "quantum://qtest/runs/run_00000000000000000000000000/junit")
        assert contents(root) == before

        (root / "calc.py").write_text((root / "calc.py").read_text().replace("add(a, a)", "add(a, 0)"))
        concerned, text = await call(client, "affected_tests")
        assert [test["id"] for test in concerned["tests"]] == ["tests/test_calc.py::test_twice"]
        assert "twice in calc.py changed" in text
        ran, text = await call(client, "run_tests", only_affected=True)
        assert (ran["passed"], ran["counts"], ran["left_out"]) == (False, {"failed": 1}, 1)
        assert "assert 2 == 4" in ran["failures"][0]["message"]
        assert "tests/test_calc.py::test_twice" in text


async def test_wrong_arguments_are_answered_with_what_would_be_right(tmp_path: Path) -> None:
    root = calculator(tmp_path / "project")
    async with connected(tmp_path / "home", root) as client:
        for tool, arguments, said in (
            ("run_tests", {"select": ["tests/none.py::test"]}, "select:"),
            ("run_tests", {"runner": "nose"}, "runner: There is no runner 'nose'"),
            ("run_tests", {"path": "/"}, "outside the granted workspaces"),
            ("measure_coverage", {"diff_against": "--output=x"}, "diff_against:"),
            ("measure_coverage", {"diff_against": "main"}, "diff_against: git cannot compare"),
            ("affected_tests", {"lines": {"none.py": [1]}}, "lines: There is no file 'none.py'"),
            ("submit_tests", {}, "files: Either files or patch"),
            ("submit_tests", {"files": [{"path": "../out.py", "content": ""}]}, "leads out of the project"),
        ):
            result = await client.call_tool(f"checks_{tool}", {"path": ".", **arguments})
            assert result.is_error, tool
            assert said in text_of(result), (tool, text_of(result))


async def test_the_prompts_name_the_tools_in_their_order(tmp_path: Path) -> None:
    async with connected(tmp_path / "home", calculator(tmp_path / "project")) as client:
        prompt = await client.get_prompt("checks_raise_coverage", {"target": "calc.py", "most_rounds": "3"})
        told = prompt.messages[0].content
        assert isinstance(told, TextContent)
        assert told.text.index("measure_coverage") < told.text.index("submit_tests")
        survivors = await client.get_prompt("checks_kill_survivors", {"target": "calc.py"})
        assert "mutate" in str(survivors.messages[0].content)
        with pytest.raises(MCPError, match="most_rounds"):
            await client.get_prompt("checks_raise_coverage", {"target": "calc.py", "most_rounds": "many"})

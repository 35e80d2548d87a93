"""The page walk-change.md: its calls are made through the hub, in both eras, and its answers are compared."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
from docs.pages import ROOT, fits
from mcp.client.client import Client
from mcp.types import TextContent, TextResourceContents
from reference.hub import eventually, tool_names
from reference.running import listening

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

PAGE = "docs/walk-change.md"
SECONDS = 400.0
_BLOCK = re.compile(
    r"<!-- (?P<mark>call|patch|read) (?P<name>[^\n]*?) -->\n```\w+\n(?P<body>.*?)```\n"
    r"(?:\n```text\n(?P<expected>.*?)```\n)?",
    re.DOTALL,
)
Mode = Literal["auto", "legacy"]


@dataclass(frozen=True)
class Step:
    """One block of the page."""

    mark: str
    name: str
    body: str
    expected: str | None


def page_steps() -> Iterator[Step]:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        yield Step(match["mark"], match["name"], match["body"], match["expected"])


def library(folder: Path) -> Path:
    """Copy the installed library, with its tests, into a repository of its own."""
    package = find_spec("referencing")
    assert package is not None
    assert package.origin is not None
    shutil.copytree(
        Path(package.origin).parent,
        folder / "referencing",
        # These tests need data that the wheel does not carry.
        ignore=shutil.ignore_patterns("__pycache__", "test_referencing_suite.py"),
    )
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "As installed"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


@asynccontextmanager
async def assistant(mode: Mode, workspace: Path, home: Path) -> AsyncIterator[Client]:
    quantum = str(Path(sys.executable).with_name("quantum"))
    state = {"HOME": str(home), "QUANTUM_DATA_DIR": str(home / "data"), "QUANTUM_EMBEDDING": "none"}
    command = [quantum, "up", "--json", "--port", "0", "--workspace", str(workspace)]
    async with listening(command, state) as (url, _), Client(url, mode=mode) as client:
        yield client


@dataclass
class Walk:
    """What was learned on the way."""

    client: Client
    patches: dict[str, str] = field(default_factory=dict)
    structured: dict[str, Any] = field(default_factory=dict)

    async def call(self, name: str, body: str) -> str:
        arguments = self.filled(json.loads(body))
        result = await self.client.call_tool(name, arguments, read_timeout_seconds=SECONDS)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        assert not result.is_error, text
        self.structured = result.structured_content or {}
        return text

    async def report(self) -> str:
        content = (await self.client.read_resource(f"{self.structured['uri']}/report")).contents[0]
        assert isinstance(content, TextResourceContents)
        return content.text

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.filled(one) for key, one in value.items()}
        if value == "<accepted>":
            return self.structured["result"]["change"]
        if value == "<applied>":
            return self.structured["applied"]
        if isinstance(value, str) and value.startswith("<"):
            return self.patches[value.strip("<>")]
        return value


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_walk_goes_as_the_page_says(mode: Mode, tmp_path: Path) -> None:
    workspace = library(tmp_path / "library")
    before = {path: path.read_bytes() for path in workspace.rglob("*.py")}
    applied: dict[Path, bytes] = {}
    async with assistant(mode, workspace, tmp_path) as client:

        async def there() -> bool:
            return {"qagent_plan_change", "orchestrator_run_workflow"} <= set(await tool_names(client))

        await eventually(there, seconds=120)
        walk = Walk(client)
        for step in page_steps():
            if step.mark == "patch":
                walk.patches[step.name] = step.body
                continue
            if step.mark == "call":
                printed, expected = await walk.call(step.name, step.body), step.expected
            else:
                printed, expected = await walk.report(), step.body
            assert expected is not None
            assert fits(expected.replace("\n", " ... \n"), f"{printed} "), f"{step.name}\n{printed}"
            if step.name == "qagent_apply_change":
                applied = {path: path.read_bytes() for path in before}
    changed = {path.relative_to(workspace).as_posix() for path in before if applied[path] != before[path]}
    assert changed == {"referencing/_core.py", "referencing/tests/test_core.py"}
    assert {path: path.read_bytes() for path in before} == before

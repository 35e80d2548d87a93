"""The page walk-change.md: its calls are made through the hub, in both eras, and its answers are compared."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from docs.walks import Mode, Walk, hub_up, offered, walk_steps
from mcp import Client

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

PAGE = "docs/walk-change.md"


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


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_walk_goes_as_the_page_says(mode: Mode, tmp_path: Path) -> None:
    workspace = library(tmp_path / "library")
    before = {path: path.read_bytes() for path in workspace.rglob("*.py")}
    applied: dict[Path, bytes] = {}
    async with hub_up(workspace, tmp_path, "--port", "0") as url, Client(url, mode=mode) as client:
        await offered(client, "qagent_plan_change", "orchestrator_run_workflow")
        walk = Walk(client, workspace)
        for step in walk_steps(PAGE):
            await walk.take(step)
            if step.name == "qagent_apply_change":
                applied = {path: path.read_bytes() for path in before}
    changed = {path.relative_to(workspace).as_posix() for path in before if applied[path] != before[path]}
    assert changed == {"referencing/_core.py", "referencing/tests/test_core.py"}
    assert {path: path.read_bytes() for path in before} == before

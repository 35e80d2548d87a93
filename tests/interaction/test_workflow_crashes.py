"""A shipped workflow whose process is killed again and again comes to the end it would have come to."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from reference import workflow_child
from reference.hub import eventually

from quantum_suite.services.workflows.interface import APPROVAL_STATUS, Verdict

pytestmark = pytest.mark.anyio

KILLED_AFTER_CALLS = (1, 4, 8)
CALLS = 1 + 4 + 5
"""One scan, four pages of findings, five explanations."""


def calls(directory: Path) -> list[tuple[str, str, dict[str, Any]]]:
    file = directory / "calls"
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


async def test_a_change_is_judged_once_however_often_its_process_is_killed(tmp_path: Path) -> None:
    for number in KILLED_AFTER_CALLS:
        child = subprocess.Popen([sys.executable, workflow_child.__file__, str(tmp_path), "run_1"])

        async def far_enough(child: subprocess.Popen[bytes] = child, number: int = number) -> bool:
            assert child.poll() is None, "the child ended by itself"
            return len({key for _, key, _ in calls(tmp_path)}) >= number

        try:
            await eventually(far_enough, seconds=60)
        finally:
            child.kill()
            await anyio.to_thread.run_sync(child.wait)
    async with workflow_child.engine(tmp_path) as (workflows, objects):

        async def asked() -> dict[str, Any] | None:
            question: dict[str, Any] | None = (await workflows.get("run_1")).status.get(APPROVAL_STATUS)
            return question

        assert "7 findings" in (await eventually(asked, seconds=60))["question"]
        await workflows.approve("run_1", Verdict(True, "ada"))
        ended = await workflows.wait("run_1", 20)
        assert (ended.state, ended.result["decision"]) == ("completed", "approved")
        assert "**Approved** by `ada`" in (await objects.get(ended.result["report"])).decode()
    made = calls(tmp_path)
    keys = Counter(key for _, key, _ in made)
    assert len(keys) == CALLS
    assert sum(keys.values()) <= CALLS + len(KILLED_AFTER_CALLS)
    said = {(key, tool, json.dumps(arguments, sort_keys=True)) for tool, key, arguments in made}
    assert len(said) == CALLS

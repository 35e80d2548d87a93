"""What an assistant does in a session, with the real client, in both eras, over HTTP and over stdio."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import psutil
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import PromptReference, ResourceLink, ResourceTemplateReference, TextContent, TextResourceContents
from reference.children import own_children
from reference.running import listening

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

QUANTUM = str(Path(sys.executable).with_name("quantum"))
SECONDS = 60
FILES = 100
Mode = Literal["auto", "legacy"]


@asynccontextmanager
async def assistant(mode: Mode, transport: str, workspace: Path, home: Path) -> AsyncIterator[Client]:
    """Attach as an assistant does: to a hub that runs, or to one that it starts itself."""
    state = {"HOME": str(home), "QUANTUM_DATA_DIR": str(home / "data")}
    options = ["--workspace", str(workspace)]
    if transport == "stdio":
        server = StdioServerParameters(
            command=QUANTUM, args=["stdio", *options], env={"PATH": os.environ["PATH"], **state}
        )
        async with Client(server, mode=mode) as client:
            yield client
    else:
        async with (
            listening([QUANTUM, "up", "--json", "--port", "0", *options], state) as (url, _),
            Client(url, mode=mode) as client,
        ):
            yield client


def engines() -> list[str]:
    """The engines at work anywhere below this process."""
    found = []
    for process in own_children():
        try:
            if process.name() in ("trivy", "ruff") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return found


async def until(engines_work: bool) -> None:
    with anyio.fail_after(SECONDS):
        while bool(engines()) is not engines_work:
            await anyio.sleep(0.01)


async def text_of(client: Client, uri: str) -> str:
    contents = (await client.read_resource(uri)).contents
    return "".join(part.text for part in contents if isinstance(part, TextResourceContents))


def a_big_shop(folder: Path) -> Path:
    """Make a repository with so much to look at that there is time to catch the engines at work."""
    shop = folder / "shop"
    shop.mkdir()
    for number in range(FILES):
        (shop / f"part_{number:03}.tf").write_text('resource "aws_s3_bucket" "b" { acl = "public-read" }\n')
    return shop


SESSIONS = pytest.mark.parametrize(
    ("mode", "transport"), [("auto", "http"), ("legacy", "http"), ("auto", "stdio"), ("legacy", "stdio")]
)


@SESSIONS
async def test_an_assistant_lists_scans_reads_and_explains(tmp_path: Path, mode: Mode, transport: str) -> None:
    shop = tmp_path / "the shöp"
    shop.mkdir()
    (shop / "resize.py").write_text("import subprocess\nsubprocess.call('convert ' + input(), shell=True)\n")
    (shop / "Dockerfile").write_text("FROM debian:latest\nUSER root\n")
    heard: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total))

    async with assistant(mode, transport, tmp_path, tmp_path) as client:
        assert "qsecure" in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {name for name in tools if name.startswith("qsecure_")} == {
            f"qsecure_{name}" for name in ("scan_repository", "list_findings", "explain_finding")
        }
        assert {"events", "llm", "orchestrator", "qsecure"} <= {name.partition("_")[0] for name in tools}
        asked = {"path": "the shöp"}
        result = await client.call_tool("qsecure_scan_repository", asked, progress_callback=progress)
        assert not result.is_error
        answer = result.structured_content
        assert answer is not None
        assert {engine["name"] for engine in answer["engines"]} == {"trivy", "ruff"}
        assert heard == sorted(heard)
        assert heard[-1] == (2, 2)
        links = {b.mime_type: str(b.uri) for b in result.content if isinstance(b, ResourceLink)}
        assert "resize.py" in await text_of(client, links["text/markdown"])
        log = json.loads(await text_of(client, links["application/sarif+json"]))
        assert len(log["runs"][0]["results"]) == sum(answer["counts"].values())
        found = await client.call_tool("qsecure_list_findings", {"scan": answer["scan"], "rule": "S602"})
        assert found.structured_content is not None
        (shell,) = found.structured_content["findings"]
        told = await client.call_tool("qsecure_explain_finding", {"finding": shell["fingerprint"]})
        assert any("Measured accuracy" in b.text for b in told.content if isinstance(b, TextContent))
        prompt = await client.get_prompt("qsecure_triage_findings", {"scan": answer["scan"]})
        assert answer["scan"] in json.dumps(prompt.model_dump(mode="json"))
        template = ResourceTemplateReference(uri="quantum://qsecure/scans/{scan}")
        completed = await client.complete(template, {"name": "scan", "value": "scan_"})
        assert completed.completion.values == [answer["scan"]]
        by_prompt = await client.complete(
            PromptReference(name="qsecure_triage_findings"), {"name": "scan", "value": ""}
        )
        assert by_prompt.completion.values == [answer["scan"]]


@SESSIONS
async def test_a_scan_given_up_leaves_no_engine_behind_and_can_be_continued(
    tmp_path: Path, mode: Mode, transport: str
) -> None:
    shop = a_big_shop(tmp_path)

    async def give_up(client: Client, arguments: dict[str, Any]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "qsecure_scan_repository", arguments)
            await until(engines_work=True)
            tasks.cancel_scope.cancel()

    async with assistant(mode, transport, shop, tmp_path) as client:
        await give_up(client, {"path": "."})
        await until(engines_work=False)
        with anyio.fail_after(SECONDS):
            while True:
                (scan,) = json.loads(await text_of(client, "quantum://qsecure/scans/latest"))["scans"]
                if scan["state"] != "running":
                    break
        assert scan["state"] == "interrupted"
        resumed = await client.call_tool("qsecure_scan_repository", {"path": ".", "resume": scan["id"]})
        assert resumed.structured_content is not None
        assert (resumed.structured_content["scan"], resumed.structured_content["state"]) == (
            scan["id"],
            "completed",
        )
        assert resumed.structured_content["files"] == FILES
    assert engines() == []


@SESSIONS
async def test_an_assistant_that_leaves_mid_scan_leaves_nothing_running(
    tmp_path: Path, mode: Mode, transport: str
) -> None:
    shop = a_big_shop(tmp_path)
    async with anyio.create_task_group() as tasks, assistant(mode, transport, shop, tmp_path) as client:
        tasks.start_soon(client.call_tool, "qsecure_scan_repository", {"path": "."})
        await until(engines_work=True)
        tasks.cancel_scope.cancel()
    await until(engines_work=False)
    names = [child.name() for child in own_children()]
    assert "quantum" not in names

"""The shipped commands that serve: over HTTP and stdio, whole and one module alone, to the end."""

import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import ResourceLink

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

QUANTUM = str(Path(sys.executable).with_name("quantum"))
SECONDS = 60


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    return {**kept, "HOME": str(home), "QUANTUM_DATA_DIR": str(home / "data"), **(extra or {})}


@asynccontextmanager
async def up(
    home: Path, *options: str, extra: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[dict[str, object], anyio.abc.Process]]:
    """Run `quantum up --json` and yield what it announced."""
    command = [QUANTUM, *(options or ("up",)), "--port", "0", "--json"]
    env = environment(home, extra)
    with (home / "printed.log").open("wb") as printed:
        opened = await anyio.open_process(command, env=env, cwd=home, stderr=printed)
    async with opened as child:
        assert child.stdout is not None
        with anyio.fail_after(SECONDS):
            line = await TextReceiveStream(child.stdout).receive()
        try:
            yield json.loads(line), child
        finally:
            if child.returncode is None:
                child.send_signal(signal.SIGINT)
                with anyio.fail_after(SECONDS, shield=True):
                    await child.wait()


async def test_up_announces_serves_both_eras_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    async with up(tmp_path) as (announced, child):
        assert {"hub", "qsecure"} <= {server["name"] for server in announced["servers"]}  # type: ignore[attr-defined] # JSON
        assert "qsecure" in announced["engines"]  # type: ignore[operator] # JSON
        for mode in ("auto", "legacy"):
            async with Client(str(announced["url"]), mode=mode) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                assert "qsecure_scan_repository" in names
    assert child.returncode == 0
    for line in (tmp_path / "printed.log").read_text().splitlines():
        assert json.loads(line)["message"], "nothing but the log is printed, to the very end"


async def test_stdio_is_what_an_assistant_starts(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import subprocess\nsubprocess.call('ls ' + input(), shell=True)\n")
    server = StdioServerParameters(
        command=QUANTUM, args=["stdio", "--workspace", str(tmp_path)], env=environment(tmp_path)
    )
    for mode in ("auto", "legacy"):
        async with Client(server, mode=mode) as client:
            result = await client.call_tool("qsecure_scan_repository", {"path": "app.py"})
            assert not result.is_error
            (report,) = [
                block
                for block in result.content
                if isinstance(block, ResourceLink) and block.mime_type == "text/markdown"
            ]
            contents = (await client.read_resource(str(report.uri))).contents
            assert "S602" in getattr(contents[0], "text", "")


async def test_one_module_alone_is_the_same_hub(tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=QUANTUM, args=["serve", "qsecure", "--stdio"], env=environment(tmp_path), cwd=tmp_path
    )
    async with Client(server) as client:
        assert [tool.name for tool in (await client.list_tools()).tools if "scan" in tool.name]
    async with up(tmp_path, "serve", "qsecure") as (announced, _):
        assert [server["name"] for server in announced["servers"] if server["name"] != "hub"] == ["qsecure"]  # type: ignore[attr-defined] # JSON


async def run(home: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    with anyio.fail_after(2 * SECONDS):
        done = await anyio.run_process(
            [QUANTUM, *arguments], env=environment(home, extra), cwd=home, check=False, stdin=None
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_a_key_opens_what_is_closed_without_one(tmp_path: Path) -> None:
    code, token, _ = await run(tmp_path, "keys", "create", "ann", "--role", "viewer")
    assert code == 0
    async with up(tmp_path, extra={"QUANTUM_TRUST_LOCAL": "false"}) as (announced, _):
        url = str(announced["url"])
        code, out, err = await run(tmp_path, "tools", "--url", url)
        assert (code, out) == (4, "")
        assert "key" in err
        code, out, _ = await run(tmp_path, "tools", "--url", url, extra={"QUANTUM_KEY": token.strip()})
        assert code == 0
        assert "qsecure_scan_repository" in out
        await run(tmp_path, "keys", "revoke", "ann")
        with anyio.fail_after(SECONDS):  # a running hub may take some seconds to notice
            while code == 0:
                code, _, _ = await run(tmp_path, "tools", "--url", url, extra={"QUANTUM_KEY": token.strip()})
        assert code == 4


async def test_a_command_without_a_hub_brings_its_own(tmp_path: Path) -> None:
    extra = {"QUANTUM_CONFIG": str(tmp_path / "mcp.json")}
    (tmp_path / "mcp.json").write_text("{}")
    with_no_hub = await run(tmp_path, "doctor", "--json", "--port", "0", extra=extra)
    checks = json.loads(with_no_hub[1])["checks"]
    assert {check["name"] for check in checks} >= {"python", "configuration", "data", "port", "server qsecure"}
    assert with_no_hub[0] == 0


async def test_doctor_fails_with_a_remedy_when_the_configuration_is_broken(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {\n  "a": }\n}')
    code, out, _ = await run(tmp_path, "doctor", "--config", "mcp.json", "--port", "0")
    assert code == 1
    assert re.search(r"fail  configuration: mcp\.json: line 2, column 8", out)


async def test_doctor_names_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"gone": {"command": "no-such-program-here"}}}')
    code, out, _ = await run(tmp_path, "doctor", "--config", "mcp.json", "--port", "0")
    assert code == 1
    assert "fail  server gone:" in out
    assert "no-such-program-here" in out


async def test_doctor_shows_what_a_server_printed_before_it_died(tmp_path: Path) -> None:
    script = "import sys; sys.exit('no licence found')"
    entry = {"command": sys.executable, "args": ["-c", script]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"dying": entry}}))
    code, out, _ = await run(tmp_path, "doctor", "--config", "mcp.json", "--port", "0")
    assert code == 1
    assert "fail  server dying:" in out
    assert "| no licence found" in out


async def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = await run(tmp_path, "up", "--data-dir", "file/data", "--port", "0")
    assert (code, out) == (2, "")
    assert "data_dir: file/data cannot be written" in err
    code, out, _ = await run(tmp_path, "doctor", "--data-dir", "file/data", "--port", "0")
    assert code == 1
    assert "fail  data: file/data cannot be written" in out


async def test_up_says_what_is_wrong_instead_of_starting(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text("[]")
    code, out, err = await run(tmp_path, "up", "--config", "mcp.json", "--port", "0")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    code, _, err = await run(tmp_path, "up", "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "quantum keys create" in err
    code, _, err = await run(tmp_path, "serve", "qsceure", "--port", "0")
    assert code == 2
    assert "There are: events, knowledge" in err
    assert "qsecure" in err.partition("There are:")[2]


async def test_the_demo_scans_through_a_real_client_and_leaves_nothing(tmp_path: Path) -> None:
    shop = tmp_path / "the shöp"
    shop.mkdir()
    (shop / "Dockerfile").write_text("FROM debian:latest\nUSER root\n")
    code, out, err = await run(tmp_path, "demo", "the shöp", "--output", "report.md")
    assert code == 0
    assert out.startswith(f"Security scan of {shop}\n")
    assert "Dockerfile" in out
    assert "Not assessed" in out
    assert "The suite is stopped." in err
    assert (tmp_path / "report.md").read_text().startswith("# Security scan of")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("nowhere",), "nowhere does not exist"),
        (("file.txt",), "file.txt is a file"),
        ((".", "--severity", "awful"), "'awful' is not one of"),
        ((".", "--output", "no/where.md"), "no is no directory"),
    ],
)
async def test_the_demo_says_what_is_wrong_before_it_starts_anything(
    tmp_path: Path, arguments: tuple[str, ...], wrong: str
) -> None:
    (tmp_path / "file.txt").touch()
    code, out, err = await run(tmp_path, "demo", *arguments)
    assert (code, out) == (2, "")
    assert wrong in err
    assert "starting" not in err

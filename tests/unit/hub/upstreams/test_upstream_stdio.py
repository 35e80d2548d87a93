"""Servers that are child processes, on their bad days."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import UNSUPPORTED_PROTOCOL_VERSION, UPSTREAM_UNAVAILABLE, Era, Json, NoPeer, RpcError
from quantum_suite.hub.upstreams.interface import LinkKey, LinkLost
from quantum_suite.hub.upstreams.stdio import StdioConnector, StdioLink

pytestmark = pytest.mark.anyio

SPEAKS = """
import json, sys, time, os
def say(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    sys.stdout.flush()
def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)
def greet():
    while True:
        message = hear()
        if message["method"] == "initialize":
            info = {"name": "bad"}
            say(id=message["id"], result={"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info})
        elif message["method"] == "server/discover":
            say(id=message["id"], result={"supportedVersions": ["2026-07-28"], "capabilities": {}})
            return
        elif message["method"] == "notifications/initialized":
            return
"""


async def ignore(method: str, params: Json) -> None:
    """Hear nothing."""


def server(program: str, **options: object) -> StdioConnector:
    options = {"grace_seconds": 0.3, "connect_seconds": 20, **options}
    return StdioConnector(sys.executable, ["-S", "-c", SPEAKS + program], **options)  # type: ignore[arg-type] # any field


async def connect(connector: StdioConnector, era: Era = "handshake") -> StdioLink:
    with anyio.fail_after(30):
        return await connector.connect(LinkKey(era, "shared" if era == "modern" else "me"), ignore)


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0.01)


# -- greeting -------------------------------------------------------------------------------------------------


async def test_a_command_that_is_not_there_says_so() -> None:
    connector = StdioConnector("no-such-server")

    with pytest.raises(Unavailable, match=r"no-such-server was not found.*Install"):
        await connect(connector)


async def test_a_server_that_dies_at_once_says_what_it_printed() -> None:
    connector = server("sys.stderr.write('DATABASE_URL is not set\\n'); sys.exit(2)")

    with pytest.raises(Unavailable, match=r"exit status 2.*DATABASE_URL is not set"):
        await connect(connector)

    assert connector.diagnostics().stderr_tail == ["DATABASE_URL is not set"]
    await connector.aclose()


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    connector = server(f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)", connect_seconds=0.5)

    with pytest.raises(Unavailable, match=r"did not answer within 0.5 seconds"):
        await connect(connector)

    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


async def test_a_server_that_ignores_discover_is_a_legacy_one() -> None:
    silent = "while True:\n  m = hear()\n"
    with pytest.raises(RpcError) as caught:
        await connect(server(silent, probe_seconds=0.3), "modern")

    assert caught.value.code == UNSUPPORTED_PROTOCOL_VERSION


@pytest.mark.parametrize("code", [-32601, -32602, -32600, 0, -32000])
async def test_a_server_that_refuses_discover_in_any_words_is_a_legacy_one(code: int) -> None:
    refusing = f"m = hear(); say(id=m['id'], error={{'code': {code}, 'message': 'what?'}}); hear()"

    with pytest.raises(RpcError) as caught:
        await connect(server(refusing), "modern")

    assert caught.value.code == UNSUPPORTED_PROTOCOL_VERSION


async def test_a_modern_server_of_another_revision_names_those_it_speaks() -> None:
    other = (
        "m = hear(); data = {'supported': ['2031-01-01']};"
        "say(id=m['id'], error={'code': -32022, 'message': 'x', 'data': data}); hear()"
    )

    with pytest.raises(RpcError) as caught:
        await connect(server(other), "modern")

    assert caught.value.code == UNSUPPORTED_PROTOCOL_VERSION
    assert caught.value.data == {"supported": ["2031-01-01"]}


async def test_a_modern_only_server_refuses_the_handshake() -> None:
    modern = "m = hear(); say(id=m['id'], error={'code': -32022, 'message': 'no'}); hear()"

    with pytest.raises(RpcError) as caught:
        await connect(server(modern), "handshake")

    assert caught.value.code == UNSUPPORTED_PROTOCOL_VERSION


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("{'protocolVersion': '1999-01-01', 'capabilities': {}}", RpcError),
        ("{'capabilities': {}}", RpcError),
        ("{'protocolVersion': '2025-06-18', 'capabilities': 5}", Unavailable),
    ],
)
async def test_a_greeting_that_makes_no_sense_is_refused(result: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await connect(server(f"m = hear(); say(id=m['id'], result={result}); hear()"))


async def test_a_server_in_trouble_is_unavailable_not_of_the_wrong_era() -> None:
    troubled = "m = hear(); say(id=m['id'], error={'code': -32603, 'message': 'no database'}); hear()"

    with pytest.raises(Unavailable, match="no database"):
        await connect(server(troubled))


async def test_text_printed_before_the_greeting_is_survived() -> None:
    connector = server("print('Starting up...', flush=True); greet(); hear()")

    link = await connect(connector)

    assert link.hello.server_info == {"name": "bad"}
    await link.aclose()


async def test_connecting_can_be_cancelled_and_leaves_no_process(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    connector = server(f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connect, connector)
        await eventually(lambda: note.exists() and note.read_text() != "")
        tasks.cancel_scope.cancel()

    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


# -- calls ----------------------------------------------------------------------------------------------------


async def failing(link: StdioLink) -> RpcError:
    with anyio.fail_after(50), pytest.raises(RpcError) as caught:
        await link.request("tools/call", {"name": "x"}, NoPeer())
    return caught.value


async def test_a_server_that_dies_in_the_middle_of_a_call_loses_the_link() -> None:
    connector = server("greet(); hear(); sys.stderr.write('segfault\\n'); os._exit(11)")
    link = await connect(connector)

    error = await failing(link)

    assert isinstance(error, LinkLost)
    assert not error.never_processed
    assert "exit status 11" in error.message
    assert link.closed
    await link.aclose()
    assert connector.diagnostics().stderr_tail == ["segfault"]
    await connector.aclose()


async def test_a_server_that_is_killed_between_calls_is_noticed_without_a_call() -> None:
    link = await connect(server("greet(); hear()"))

    os.kill(link.child.pid, signal.SIGKILL)

    await eventually(lambda: link.closed)
    assert isinstance(await failing(link), LinkLost)
    await link.aclose()


async def test_a_server_that_closes_its_output_loses_the_link() -> None:
    link = await connect(server("greet(); hear(); os.close(1); time.sleep(600)"))

    assert isinstance(await failing(link), LinkLost)
    await link.aclose()


async def test_a_line_without_end_loses_the_link_and_the_child() -> None:
    link = await connect(
        server("greet(); hear()\nwhile True: sys.stdout.write('x' * 65536)", max_message_bytes=200_000)
    )

    error = await failing(link)

    assert "line longer than it may" in error.message
    await eventually(lambda: link.child.returncode is not None)
    await link.aclose()


async def test_a_flood_of_nonsense_is_given_up_and_the_child_ended() -> None:
    link = await connect(server("greet(); hear()\nwhile True: print('debug')"))

    error = await failing(link)

    assert error.code == UPSTREAM_UNAVAILABLE
    assert "make no sense" in error.message
    await eventually(lambda: link.child.returncode is not None)
    await link.aclose()


async def test_a_flood_of_notifications_is_given_up_and_the_child_ended() -> None:
    link = await connect(
        server(
            "greet(); hear()\nwhile True: say(method='notifications/message', params={'level': 'info', 'data': 1})"
        )
    )

    error = await failing(link)

    assert "nobody waits for" in error.message
    await eventually(lambda: link.child.returncode is not None)
    await link.aclose()


async def test_a_server_that_stops_reading_holds_up_nobody_who_gives_up_waiting() -> None:
    link = await connect(server("greet(); time.sleep(600)"))

    with anyio.move_on_after(0.2) as scope:
        await link.request("tools/call", {"name": "x" * 5_000_000}, NoPeer())

    assert scope.cancelled_caught
    assert link.in_flight == 0
    await link.aclose()


async def test_the_real_time_server_answers_in_both_eras() -> None:
    connector = StdioConnector(sys.executable, ["-m", "mcp_server_time", "--local-timezone", "UTC"])
    for era in ("modern", "handshake"):
        link = await connector.connect(LinkKey("modern" if era == "modern" else "handshake", "me"), ignore)
        meta: Json = {}
        if era == "modern":
            meta = {
                "io.modelcontextprotocol/protocolVersion": link.hello.protocol_version,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        tools = await link.request("tools/list", {"_meta": meta}, NoPeer())
        now = await link.request(
            "tools/call",
            {"name": "get_current_time", "arguments": {"timezone": "Europe/Vienna"}, "_meta": meta},
            NoPeer(),
        )

        assert {tool["name"] for tool in tools["tools"]} == {"get_current_time", "convert_time"}
        assert "Europe/Vienna" in now["content"][0]["text"]
        await link.aclose()
    await connector.aclose()

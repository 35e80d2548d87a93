"""What every link promises, on every transport and in both eras, against a real server of the SDK."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from reference.children import own_children
from reference.link_server import build

from quantum_suite.core.principals import LOCAL, Caller
from quantum_suite.hub.call import (
    LATEST_MODERN,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_SUBSCRIPTION_ID,
    META_VERSION,
    METHOD_NOT_FOUND,
    NO_BACK_CHANNEL,
    Era,
    Json,
    NoPeer,
    RpcError,
)
from quantum_suite.hub.upstreams.http import HttpConnector
from quantum_suite.hub.upstreams.inprocess import InProcessConnector
from quantum_suite.hub.upstreams.interface import Connector, Link, LinkKey, LinkLost
from quantum_suite.hub.upstreams.stdio import StdioConnector

SERVER = Path(__file__).parent.parent / "reference" / "link_server.py"
CAPABILITIES: Json = {"elicitation": {"form": {}}}

pytestmark = [
    pytest.mark.anyio,
    # Log messages are deprecated in the protocol, and links still have to carry them.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


class Requester:
    """A peer that remembers what it heard, and answers every question alike."""

    def __init__(self, answer: Json | RpcError | None = None) -> None:
        self.heard: list[tuple[str, Json]] = []
        self.asked: list[str] = []
        self._answer = answer

    async def notify(self, method: str, params: Json) -> None:
        self.heard.append((method, params))

    async def request(self, method: str, params: Json) -> Json:
        self.asked.append(method)
        if self._answer is None:
            await anyio.sleep_forever()
        if isinstance(self._answer, RpcError):
            raise self._answer
        return self._answer or {}

    def of(self, method: str) -> list[Json]:
        return [params for name, params in self.heard if name == method]


@dataclass
class Opened:
    """A link and what came with it."""

    transport: str
    era: Era
    link: Link
    announced: list[tuple[str, Json]] = field(default_factory=list)

    async def call(
        self, tool: str, arguments: Json | None = None, peer: Any = None, meta: Json | None = None, **more: Any
    ) -> Json:
        with anyio.fail_after(50):
            return await self.request(
                "tools/call", {"name": tool, "arguments": arguments or {}, "_meta": meta or {}, **more}, peer
            )

    async def request(self, method: str, params: Json, peer: Any = None, **options: Any) -> Json:
        params = {**params, "_meta": {**envelope(self.era), **params.get("_meta", {})}}
        return await self.link.request(method, params, peer or NoPeer(), **options)


def envelope(era: Era) -> Json:
    if era == "handshake":
        return {}
    return {
        META_VERSION: LATEST_MODERN,
        META_CLIENT_CAPABILITIES: CAPABILITIES,
        META_CLIENT_INFO: {"name": "contract", "version": "1"},
    }


def key_for(era: Era) -> LinkKey:
    return LinkKey(era, "shared" if era == "modern" else "somebody", '{"elicitation":{"form":{}}}')


def text(result: Json) -> str:
    return result["content"][0]["text"]


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(90):
        while not condition():
            await anyio.sleep(0.01)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(SERVER), "--http", "0"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield server.stdout.readline().decode().strip()
        server.terminate()


@pytest.fixture(scope="module", params=["inprocess", "stdio", "http"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["modern", "handshake"])
def era(request: pytest.FixtureRequest) -> Era:
    return "modern" if request.param == "modern" else "handshake"


@pytest.fixture(scope="module")
def make_connector(transport: str, url: str) -> Callable[[], Connector]:
    def make() -> Connector:
        if transport == "inprocess":
            return InProcessConnector(build())
        if transport == "stdio":
            return StdioConnector(sys.executable, [str(SERVER), "--stdio"])
        return HttpConnector(url)

    return make


@pytest.fixture(scope="module")
async def opened(
    anyio_backend: str, transport: str, era: Era, make_connector: Callable[[], Connector]
) -> AsyncIterator[Opened]:
    connector = make_connector()
    announced: list[tuple[str, Json]] = []

    async def announce(method: str, params: Json) -> None:
        announced.append((method, params))

    link = await connector.connect(key_for(era), announce)
    yield Opened(transport, era, link, announced)
    await link.aclose()
    await connector.aclose()


async def ignore(method: str, params: Json) -> None:
    """Hear nothing."""


async def test_a_link_says_what_the_server_said_of_itself(opened: Opened, era: Era) -> None:
    hello = opened.link.hello

    assert hello.era == era
    assert hello.protocol_version == ("2026-07-28" if era == "modern" else "2025-11-25")
    assert hello.server_info["name"] == "link-server"
    assert hello.server_info["version"] == "1.2.3"
    assert hello.instructions == "Be gentle."
    assert "tools" in hello.capabilities
    assert not opened.link.closed
    assert opened.link.in_flight == 0


async def test_a_result_comes_back_whole(opened: Opened) -> None:
    result = await opened.call("add", {"a": 2, "b": 3})

    assert result["structuredContent"] == {"total": 5}
    assert result["isError"] is False


async def test_names_and_texts_outside_ascii_survive(opened: Opened) -> None:
    assert (
        text(await opened.call("echo", {"text": "Grüße, 世界 \u2028 \U0001f600"}))
        == "Grüße, 世界 \u2028 \U0001f600"
    )
    with pytest.raises(RpcError) as caught:
        await opened.request("resources/read", {"uri": "note://grün/=?base64?x?="})
    assert "grün" in caught.value.message


async def test_a_result_of_a_megabyte_comes_back_whole(opened: Opened) -> None:
    long = "x" * 1_000_000

    assert text(await opened.call("echo", {"text": long})) == long


async def test_an_error_of_the_server_keeps_its_code_message_and_data(opened: Opened) -> None:
    with pytest.raises(RpcError) as caught:
        await opened.call("fail", {"how": "protocol"})

    assert (caught.value.code, caught.value.message) == (-32055, "no such thing")
    assert caught.value.data == {"why": "asked for"}
    assert not isinstance(caught.value, LinkLost)


async def test_a_tool_that_fails_is_a_result(opened: Opened) -> None:
    result = await opened.call("fail", {"how": "tool"})

    assert result["isError"] is True
    assert "it did not work" in text(result)


async def test_an_unknown_method_is_the_servers_own_error(opened: Opened) -> None:
    with pytest.raises(RpcError) as caught:
        await opened.request("no/such-method", {})

    assert caught.value.code == METHOD_NOT_FOUND


async def test_progress_comes_in_order_before_the_result_under_the_callers_token(opened: Opened) -> None:
    peer = Requester()

    await opened.call("count", {"to": 5}, peer, {"progressToken": "mine"})

    progress = peer.of("notifications/progress")
    assert [p["progress"] for p in progress] == [1, 2, 3, 4, 5]
    assert {p["progressToken"] for p in progress} == {"mine"}


async def test_equal_tokens_of_two_calls_do_not_mix(opened: Opened) -> None:
    one, other = Requester(), Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opened.call, "count", {"to": 2}, one, {"progressToken": 7})
        tasks.start_soon(opened.call, "count", {"to": 4}, other, {"progressToken": 7})

    assert [p["total"] for p in one.of("notifications/progress")] == [2, 2]
    assert [p["total"] for p in other.of("notifications/progress")] == [4] * 4
    assert {p["progressToken"] for p in one.of("notifications/progress")} == {7}


async def test_no_progress_comes_where_none_was_asked_for(opened: Opened) -> None:
    peer = Requester()

    await opened.call("count", {"to": 3}, peer)

    assert peer.of("notifications/progress") == []


async def test_a_log_message_reaches_the_requester(opened: Opened) -> None:
    peer = Requester()

    await opened.call("remark", {"text": "by the way"}, peer, {META_LOG_LEVEL: "info"})

    assert [p["data"] for p in peer.of("notifications/message")] == ["by the way"]


async def test_parallel_calls_do_not_mix(opened: Opened) -> None:
    answers: dict[int, str] = {}

    async def one(number: int) -> None:
        answers[number] = text(
            await opened.call("echo", {"text": f"call {number}", "after_seconds": (number % 5) / 100})
        )

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(one, number)

    assert answers == {number: f"call {number}" for number in range(40)}
    assert opened.link.in_flight == 0


async def test_cancelling_a_call_reaches_the_server(opened: Opened, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opened.call, "hang", {"log": str(log)})
        await eventually(lambda: log.read_text() == "begun\n")
        assert opened.link.in_flight == 1
        tasks.cancel_scope.cancel()

    await eventually(lambda: log.read_text() == "begun\ncancelled\n")
    assert opened.link.in_flight == 0
    assert text(await opened.call("echo", {"text": "still here"})) == "still here"


def has_begun(log: Path, calls: int) -> bool:
    return log.read_text().count("begun") == calls


async def test_two_hundred_cancelled_calls_leave_no_task_and_no_child(opened: Opened, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    await opened.call("echo", {"text": "warm"})
    tasks_before = len(asyncio.all_tasks())
    children_before = own_children()

    for done in range(4):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(opened.call, "hang", {"log": str(log)})
            await eventually(partial(has_begun, log, 50 * done + 50))
            assert opened.link.in_flight == 50
            tasks.cancel_scope.cancel()
        await eventually(lambda: log.read_text().count("cancelled") == log.read_text().count("begun"))

    assert opened.link.in_flight == 0
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks_before)
    # Those of tests before may end meanwhile.
    await eventually(lambda: set(own_children()) <= set(children_before))
    assert text(await opened.call("echo", {"text": "still here"})) == "still here"


async def test_a_question_of_a_handshake_server_reaches_the_requester(opened: Opened) -> None:
    peer = Requester({"action": "accept", "content": {"name": "Ada"}})

    if opened.era == "modern":
        with pytest.raises(RpcError, match="back-channel"):
            await opened.call("ask", {}, peer)
        assert peer.asked == []
        return

    assert text(await opened.call("ask", {}, peer)) == "hello Ada"
    assert peer.asked == ["elicitation/create"]


async def test_a_requesters_refusal_reaches_the_server(opened: Opened) -> None:
    if opened.era == "modern":
        with pytest.raises(RpcError) as caught:
            await NoPeer().request("elicitation/create", {})
        assert caught.value.code == NO_BACK_CHANNEL
        return
    peer = Requester(RpcError(-32077, "I would rather not"))

    try:
        said = text(await opened.call("ask", {}, peer))
    except RpcError as error:
        said = error.message

    assert "I would rather not" in said


async def test_cancelling_a_call_gives_up_its_open_question(opened: Opened) -> None:
    if opened.era == "modern":
        assert (await opened.call("ask_again"))["resultType"] == "input_required"
        return
    peer = Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opened.call, "ask", {}, peer)
        await eventually(lambda: peer.asked == ["elicitation/create"])
        tasks.cancel_scope.cancel()

    assert opened.link.in_flight == 0
    assert text(await opened.call("echo", {"text": "still here"})) == "still here"


async def test_a_modern_server_asks_by_its_result(opened: Opened) -> None:
    if opened.era == "handshake":
        with pytest.raises(RpcError):
            await opened.call("ask_again")
        return
    first = await opened.call("ask_again")

    second = await opened.call(
        "ask_again",
        inputResponses={"who": {"action": "accept", "content": {"name": "Ada"}}},
        requestState=first["requestState"],
    )

    assert first["resultType"] == "input_required"
    assert first["inputRequests"]["who"]["method"] == "elicitation/create"
    assert text(second) == "hello Ada"


async def test_a_subscription_delivers_changes_under_the_callers_id(opened: Opened) -> None:
    if opened.era == "handshake":
        with pytest.raises(RpcError):
            await opened.request("subscriptions/listen", {"notifications": {}})
        return
    peer = Requester()
    params = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["note://today"]}}

    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            await opened.request("subscriptions/listen", params, peer, request_id="my-own-id")

        tasks.start_soon(listen)
        await eventually(lambda: bool(peer.of("notifications/subscriptions/acknowledged")))
        await opened.call("change_note")
        await eventually(lambda: bool(peer.of("notifications/resources/updated")))
        tasks.cancel_scope.cancel()

    assert peer.heard[0][0] == "notifications/subscriptions/acknowledged"
    assert {params["_meta"][META_SUBSCRIPTION_ID] for _, params in peer.heard} == {"my-own-id"}
    assert peer.of("notifications/resources/updated")[0]["uri"] == "note://today"
    assert opened.link.in_flight == 0


_names = (f"extra_{number}" for number in itertools.count())


async def test_a_changed_list_is_announced(opened: Opened) -> None:
    before = len(opened.announced)
    peer = Requester()

    async with anyio.create_task_group() as tasks:
        # In the modern era changes are told to those who listen; a mounted server is always listened to.
        if opened.era == "modern" and opened.transport != "inprocess":
            tasks.start_soon(
                opened.request, "subscriptions/listen", {"notifications": {"toolsListChanged": True}}, peer
            )
            await eventually(lambda: bool(peer.heard))
        await opened.call("change_tools", {"name": next(_names)})
        if opened.era == "modern" and opened.transport != "inprocess":
            await eventually(lambda: bool(peer.of("notifications/tools/list_changed")))
        else:
            await eventually(lambda: len(opened.announced) > before)
            assert opened.announced[-1][0] == "notifications/tools/list_changed"
        tasks.cancel_scope.cancel()


async def test_only_a_mounted_server_learns_who_calls(opened: Opened) -> None:
    params = {"name": "whoami", "arguments": {}}

    result = await opened.request("tools/call", params, caller=Caller(LOCAL, "call-1"))

    assert text(result) == ("local" if opened.transport == "inprocess" else "nobody")


async def test_params_are_left_as_they_were(opened: Opened) -> None:
    params: Json = {
        "name": "count",
        "arguments": {"to": 1},
        "_meta": {**envelope(opened.era), "progressToken": "mine"},
    }
    copy = {**params, "_meta": {**params["_meta"]}}

    await opened.link.request("tools/call", params, NoPeer())

    assert params == copy


async def test_a_notification_is_taken(opened: Opened) -> None:
    await opened.link.notify("notifications/roots/list_changed", {})

    assert text(await opened.call("echo", {"text": "still here"})) == "still here"


async def test_a_closed_link_refuses_and_says_that_nothing_was_done(
    make_connector: Callable[[], Connector], transport: str, era: Era
) -> None:
    connector = make_connector()
    link = await connector.connect(key_for(era), ignore)
    await link.aclose()
    await link.aclose()

    with pytest.raises(LinkLost) as caught:
        await Opened(transport, era, link).call("echo", {"text": "x"})

    assert link.closed
    assert caught.value.never_processed
    await link.notify("notifications/roots/list_changed", {})
    await connector.aclose()
    await connector.aclose()


async def test_closing_a_link_fails_what_is_in_flight(
    make_connector: Callable[[], Connector], transport: str, era: Era, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    connector = make_connector()
    opened = Opened(transport, era, await connector.connect(key_for(era), ignore))
    failures: list[BaseException] = []

    async def hang() -> None:
        try:
            await opened.call("hang", {"log": str(log)})
        except RpcError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang)
        await eventually(lambda: "begun" in log.read_text())
        await opened.link.aclose()

    await connector.aclose()
    assert [type(error) for error in failures] == [LinkLost]
    assert opened.link.in_flight == 0


async def test_closing_a_link_to_a_child_ends_its_children_too(era: Era) -> None:
    before = {child.pid for child in own_children()}
    connector = StdioConnector(sys.executable, [str(SERVER), "--stdio"])
    opened = Opened("stdio", era, await connector.connect(key_for(era), ignore))
    grandchild = int(text(await opened.call("spawn")))
    assert psutil.pid_exists(grandchild)

    await opened.link.aclose()

    await eventually(lambda: not _runs(grandchild))
    await eventually(lambda: {child.pid for child in own_children()} <= before)
    await connector.aclose()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

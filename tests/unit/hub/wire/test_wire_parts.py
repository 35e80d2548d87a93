"""The small parts: queues, lines, sessions' memory, header checks, messages."""

import time
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream

from quantum_suite.core.principals import LOCAL
from quantum_suite.hub.call import NoPeer, RpcError, Session
from quantum_suite.hub.wire.asgi import era_of
from quantum_suite.hub.wire.http import check_accept, check_content_type, collect_headers
from quantum_suite.hub.wire.lines import LineReader, LineTooLong
from quantum_suite.hub.wire.messages import encode, error_bytes, kind_of
from quantum_suite.hub.wire.outbox import Outbox
from quantum_suite.hub.wire.rejection import Rejection
from quantum_suite.hub.wire.sessions import HttpSession, PostStream

META = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


@pytest.mark.anyio
async def test_an_outbox_keeps_the_order_of_producers_that_wait() -> None:
    outbox = Outbox(max_bytes=1)
    taken = b""
    async with anyio.create_task_group() as tasks:
        for letter in (b"a", b"b", b"c", b"d"):
            tasks.start_soon(outbox.put, letter)
        while len(taken) < 4:
            taken += await outbox.take() or b""
    assert taken == b"abcd"


@pytest.mark.anyio
async def test_an_outbox_gives_a_stalled_reader_up_once_and_drops_the_rest() -> None:
    stalls: list[int] = []
    outbox = Outbox(max_bytes=1, stall_seconds=0.01, on_stall=lambda: stalls.append(1))
    for _ in range(3):
        await outbox.put(b"x")
    assert stalls == [1]
    assert outbox.closed
    assert await outbox.take() is None


@pytest.mark.anyio
async def test_an_outbox_delivers_what_it_holds_after_closing_and_frees_who_waits() -> None:
    outbox = Outbox(max_bytes=1)
    await outbox.put(b"x")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.put, b"late")
        await anyio.lowlevel.checkpoint()
        outbox.close()
    assert [await outbox.take(), await outbox.take()] == [b"x", None]


@pytest.mark.anyio
async def test_an_outbox_says_when_nothing_came() -> None:
    assert await Outbox().take(0.001) == b""


class Chunks(ByteReceiveStream):
    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self._chunks:
            raise anyio.EndOfStream
        return self._chunks.pop(0)

    async def aclose(self) -> None:
        pass


async def lines_of(*chunks: bytes) -> list[Any]:
    reader = LineReader(Chunks(*chunks), 5)
    found: list[Any] = []
    while True:
        try:
            line = await reader.read()
        except LineTooLong:
            found.append(LineTooLong)
            continue
        if line is None:
            return found
        found.append(line)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((b"a\nb", b"c\n\nd"), [b"a", b"bc", b"", b"d"]),
        ((b"12345\n123456\nok\n",), [b"12345", LineTooLong, b"ok"]),
        ((b"1234567", b"89", b"0\nok\n"), [LineTooLong, b"ok"]),
        ((b"1234567", b"890123456", b"789"), [LineTooLong]),
        ((b"1", b"2", b"3\n"), [b"123"]),
        ((), []),
    ],
)
async def test_lines_are_split_and_overlong_ones_skipped(chunks: tuple[bytes, ...], lines: list[Any]) -> None:
    assert await lines_of(*chunks) == lines


def new_session(version: str = "2025-11-25") -> HttpSession:
    session = HttpSession()
    session.session = Session(session.id, version, {}, {}, LOCAL, NoPeer())
    return session


@pytest.mark.anyio
async def test_a_session_remembers_a_bounded_number_and_size_of_events() -> None:
    session = new_session()
    for _ in range(1000):
        await session.standalone.emit(b"x")
    assert len(session.standalone.events) == 256
    await session.standalone.emit(b"y" * 2_000_000)
    assert [len(frame) > 2_000_000 for _, frame in session.standalone.events] == [True]


@pytest.mark.anyio
async def test_a_session_forgets_streams_that_ended_a_while_ago() -> None:
    session = new_session()
    stream = PostStream(session, lambda _: pytest.fail("no response is begun here"))
    stream.begun = True
    await stream.emit(b"x")
    stream.finish()
    now = time.monotonic()
    session.forget_old(now)
    assert session.resume_point(f"{stream.number}_1") == (stream, 1)
    session.forget_old(now + 60)
    assert session.resume_point(f"{stream.number}_1") is None


@pytest.mark.parametrize("event_id", ["", "_", "1", "a_b", "1_", "-1_2", "²_1", "9" * 50 + "_1", "5_5"])
def test_event_ids_that_are_none_of_ours_are_unknown(event_id: str) -> None:
    assert new_session().resume_point(event_id) is None


@pytest.mark.parametrize(
    ("version", "session", "params", "era"),
    [
        (None, False, {}, "handshake"),
        (None, False, META, "modern"),
        (None, True, {}, "handshake"),
        (b"2026-07-28", False, {}, "modern"),
        (b"2026-07-28", True, {}, "modern"),
        (b"2025-11-25", True, META, "handshake"),
        (b"2025-11-25", False, META, "modern"),
        (b" 2025-11-25 ", False, {}, "handshake"),
        (b"2099-01-01", False, {}, "modern"),
    ],
)
def test_the_era_is_told_by_header_session_and_meta(
    version: bytes | None, session: bool, params: Any, era: str
) -> None:
    headers = {b"mcp-session-id": b"s"} if session else {}
    if version is not None:
        headers[b"mcp-protocol-version"] = version
    assert era_of(headers, {"jsonrpc": "2.0", "id": 1, "method": "x", "params": params}) == era


@pytest.mark.parametrize(
    ("accept", "good"),
    [
        (None, True),
        (b"*/*", True),
        (b"application/json, text/event-stream", True),
        (b"Text/Event-Stream;q=0.5 , application/*", True),
        (b"application/json", False),
        (b"text/event-stream", False),
        (b"application/json, text/event-stream; q=0", False),
        (b"", False),
    ],
)
def test_a_client_must_accept_both_kinds_of_answer(accept: bytes | None, good: bool) -> None:
    if good:
        check_accept(accept)
    else:
        with pytest.raises(Rejection):
            check_accept(accept)


@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        (b"application/json", True),
        (b'Application/JSON ; charset="UTF-8"', True),
        (b"application/json; profile=x; charset=utf8", True),
        (b"application/json; charset=utf-16", False),
        (b"application/jsonp", False),
        (None, False),
    ],
)
def test_a_body_must_be_json_in_utf8(content_type: bytes | None, good: bool) -> None:
    if good:
        check_content_type(content_type)
    else:
        with pytest.raises(Rejection):
            check_content_type(content_type)


def test_headers_that_decide_nothing_may_repeat() -> None:
    headers = collect_headers([(b"accept", b"a"), (b"accept", b"b"), (b"x", b"1")], 1000)
    assert headers == {b"accept": b"a, b", b"x": b"1"}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"jsonrpc": "2.0", "id": 1, "method": "m"}, "request"),
        ({"jsonrpc": "2.0", "id": "", "method": "m"}, "request"),
        ({"jsonrpc": "2.0", "method": "m"}, "notification"),
        ({"jsonrpc": "2.0", "id": 1, "result": None}, "response"),
        ({"jsonrpc": "2.0", "id": None, "error": {}}, "response"),
        ({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}, None),
        ({"jsonrpc": "2.0", "id": True, "method": "m"}, None),
        ({"jsonrpc": "2.0"}, None),
        ({"jsonrpc": 2.0, "method": "m"}, None),
        ([], None),
        (None, None),
    ],
)
def test_messages_are_told_apart(message: Any, kind: str | None) -> None:
    if kind is None:
        with pytest.raises(RpcError):
            kind_of(message)
    else:
        assert kind_of(message) == kind


def test_what_is_written_has_no_line_break_and_loses_nothing() -> None:
    assert b"\n" not in encode({"a": "x\n\u2028y"})
    assert encode({"n": 2**70, 1: "\ud800"}) == b'{"n":1180591620717411303424,"1":"\\ud800"}'


def test_an_error_with_data_that_is_no_json_is_written_without_it() -> None:
    assert (
        error_bytes(1, RpcError(-1, "m", object()))
        == b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}'
    )

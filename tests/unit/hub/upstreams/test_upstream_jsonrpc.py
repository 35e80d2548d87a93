"""The JSON-RPC channel: who gets what, and what a lying server can and cannot do."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import orjson
import pytest

from quantum_suite.hub.call import (
    META_LOG_LEVEL,
    META_SUBSCRIPTION_ID,
    NO_BACK_CHANNEL,
    UPSTREAM_UNAVAILABLE,
    Era,
    Json,
    NoPeer,
    RpcError,
)
from quantum_suite.hub.tasks.extension import RELATED_TASK
from quantum_suite.hub.upstreams.inbox import MAX_QUESTIONS, MAX_WAITING
from quantum_suite.hub.upstreams.interface import LinkLost
from quantum_suite.hub.upstreams.jsonrpc import MAX_GARBAGE, JsonRpcPeer

pytestmark = pytest.mark.anyio


class Channel:
    """Remembers what was written."""

    backed_up = False

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.gone = False

    def write(self, data: bytes) -> None:
        if self.gone:
            raise BrokenPipeError
        assert data.endswith(b"\n")
        self.messages.append(orjson.loads(data))

    async def drain(self) -> None:
        """Nothing is ever behind."""

    def of(self, method: str) -> list[Json]:
        return [message for message in self.messages if message.get("method") == method]

    def responses(self) -> list[Json]:
        return [message for message in self.messages if "method" not in message]


class Requester:
    """A peer that remembers what it heard, and can be made to wait."""

    def __init__(self, answer: Json | None = None) -> None:
        self.heard: list[tuple[str, Json]] = []
        self.asked: list[Json] = []
        self.may_go_on = anyio.Event()
        self.may_go_on.set()
        self._answer = answer

    async def notify(self, method: str, params: Json) -> None:
        self.heard.append((method, params))
        await self.may_go_on.wait()

    async def request(self, method: str, params: Json) -> Json:
        self.asked.append({"method": method, "params": params})
        if self._answer is None:
            await anyio.sleep_forever()
        return self._answer or {}


class Conversation:
    """A peer under test, its channel, and the requests made on it."""

    def __init__(self, era: Era = "handshake", *, shared: bool = False) -> None:
        self.announced: list[tuple[str, Json]] = []
        self.channel = Channel()
        self.peer = JsonRpcPeer(
            era, shared=shared, announce=lambda method, params: self.announced.append((method, params))
        )
        self.peer.attach(self.channel)
        self.results: list[Json | RpcError] = []

    def says(self, message: Any) -> None:
        self.peer.line(message if isinstance(message, bytes) else orjson.dumps(message))

    async def request(
        self,
        peer: Any = None,
        meta: Json | None = None,
        method: str = "tools/call",
        task: str | None = None,
        **more: Any,
    ) -> None:
        params: Json = {"taskId": task} if task else {"name": "x"}
        if meta is not None:
            params["_meta"] = meta
        try:
            self.results.append(await self.peer.request(method, params, peer or NoPeer(), **more))
        except RpcError as error:
            self.results.append(error)


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0)


async def test_a_response_reaches_the_request_with_its_id_in_any_order() -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        tasks.start_soon(talk.request)
        await eventually(lambda: len(talk.channel.messages) == 2)
        talk.says({"jsonrpc": "2.0", "id": 2, "result": {"second": True}})
        await eventually(lambda: len(talk.results) == 1)
        talk.says({"jsonrpc": "2.0", "id": "1", "result": {"first": True}})

    assert talk.results == [{"second": True}, {"first": True}]
    assert talk.peer.in_flight == 0


async def test_a_batch_of_an_old_revision_is_read() -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        tasks.start_soon(talk.request)
        await eventually(lambda: len(talk.channel.messages) == 2)
        talk.says([{"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 2, "result": {}}])

    assert talk.results == [{}, {}]


@pytest.mark.parametrize(
    ("response", "says"),
    [
        ({"id": 1, "result": {}, "error": {"code": 1, "message": "x"}}, "both a result and an error"),
        ({"id": 1, "result": [1]}, "result is not an object"),
        ({"id": 1}, "result is not an object"),
        ({"id": 1, "error": "no"}, "error without a code"),
        ({"id": 1, "error": {"code": True, "message": "x"}}, "error without a code"),
    ],
)
async def test_a_malformed_answer_fails_its_request_and_names_what_was_wrong(response: Json, says: str) -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        await eventually(lambda: bool(talk.channel.messages))
        talk.says({"jsonrpc": "2.0", **response})

    error = talk.results[0]
    assert isinstance(error, RpcError)
    assert error.code == UPSTREAM_UNAVAILABLE
    assert says in error.message
    assert talk.peer.closed_because is None


async def test_a_servers_own_error_is_passed_on_with_a_bounded_text() -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        await eventually(lambda: bool(talk.channel.messages))
        talk.says({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "x" * 99_999, "data": [1]}})

    error = talk.results[0]
    assert isinstance(error, RpcError)
    assert not isinstance(error, LinkLost)
    assert (error.code, error.data) == (-32000, [1])
    assert len(error.message) == 2000


GARBAGE = [
    b"Listening on port 3000...",
    b"\xff\xfe\x00",
    b"[]",
    b"17",
    b'"text"',
    b'{"jsonrpc":"2.0","id":99,"result":{}}',
    b'{"jsonrpc":"2.0","id":true,"result":{}}',
    b'{"jsonrpc":"2.0","id":null,"result":{}}',
    b'{"jsonrpc":"2.0","id":1.5,"result":{}}',
    b'{"jsonrpc":"2.0","id":{},"result":{}}',
    b'{"jsonrpc":"2.0","method":5}',
    b'{"jsonrpc":"2.0","method":"x","params":[1]}',
    b'{"jsonrpc":"2.0","method":"x","id":[1]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", GARBAGE)
async def test_a_line_that_makes_no_sense_is_survived(line: bytes) -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        await eventually(lambda: bool(talk.channel.messages))
        talk.says(line)
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {"ok": 1}})

    assert talk.results == [{"ok": 1}]


async def test_too_much_nonsense_in_a_row_closes_the_channel_and_says_why() -> None:
    talk = Conversation()
    closed: list[bool] = []
    talk.peer.on_closed = lambda: closed.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        await eventually(lambda: bool(talk.channel.messages))
        for _ in range(MAX_GARBAGE + 5):
            talk.says(b"npm WARN deprecated")

    error = talk.results[0]
    assert isinstance(error, RpcError)
    assert error.code == UPSTREAM_UNAVAILABLE
    assert "make no sense" in error.message
    assert "not JSON" in (talk.peer.closed_because or "")
    assert closed == [True]
    await talk.request()
    assert isinstance(talk.results[-1], LinkLost)


async def test_nonsense_between_answers_is_tolerated_for_ever() -> None:
    talk = Conversation()

    for number in range(1, 5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.request)
            await eventually(lambda n=number: len(talk.channel.messages) == n)
            for _ in range(MAX_GARBAGE):
                talk.says(b"debug: working on it")
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    assert talk.results == [{}] * 4


async def test_a_flood_nobody_waits_for_closes_the_channel() -> None:
    talk = Conversation()

    for _ in range(10_002):
        talk.says(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}')

    assert "nobody waits for" in (talk.peer.closed_because or "")


async def test_a_slow_requester_loses_progress_but_neither_the_rest_nor_the_answer() -> None:
    talk = Conversation()
    slow = Requester()
    slow.may_go_on = anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, slow, {"progressToken": "t"})
        await eventually(lambda: bool(talk.channel.messages))
        for number in range(MAX_WAITING * 4):
            talk.says(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {"progressToken": 1, "progress": number},
                }
            )
        talk.says(
            {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "keep me"}}
        )
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {"ok": 1}})
        await eventually(lambda: len(slow.heard) == 1)
        slow.may_go_on.set()

    values = [params["progress"] for method, params in slow.heard if method == "notifications/progress"]
    assert values == sorted(values)
    assert len(slow.heard) <= MAX_WAITING + 1
    assert slow.heard[-1] == ("notifications/message", {"level": "info", "data": "keep me"})
    assert talk.results == [{"ok": 1}]


async def test_progress_goes_to_the_request_whose_token_it_carries() -> None:
    talk = Conversation(shared=True)
    one, other = Requester(), Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, one, {"progressToken": "same"})
        tasks.start_soon(talk.request, other, {"progressToken": "same"})
        await eventually(lambda: len(talk.channel.messages) == 2)
        tokens = [message["params"]["_meta"]["progressToken"] for message in talk.channel.messages]
        for token in (tokens[1], "same", "nonsense", None, True):
            talk.says(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": 1},
                }
            )
        for number in (1, 2):
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    assert len(set(tokens)) == 2
    assert one.heard == []
    assert other.heard == [("notifications/progress", {"progressToken": "same", "progress": 1})]


async def test_a_log_message_goes_to_the_only_requester() -> None:
    talk = Conversation()
    peer = Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, peer)
        await eventually(lambda: bool(talk.channel.messages))
        talk.says({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert peer.heard == [("notifications/message", {"level": "info", "data": 1})]


@pytest.mark.parametrize(("shared", "heard"), [(False, 1), (True, 0)])
async def test_a_log_message_that_could_be_anybodys_stays_within_one_identity(shared: bool, heard: int) -> None:
    talk = Conversation("modern" if shared else "handshake", shared=shared)
    one, other = Requester(), Requester()

    async with anyio.create_task_group() as tasks:
        for peer in (one, other, other):
            tasks.start_soon(talk.request, peer, {META_LOG_LEVEL: "info"})
        await eventually(lambda: len(talk.channel.messages) == 3)
        talk.says({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})
        for number in (1, 2, 3):
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    assert (len(one.heard), len(other.heard)) == (heard, heard)


async def test_in_the_modern_era_only_those_hear_logs_who_asked_for_them() -> None:
    talk = Conversation("modern", shared=True)
    asked, silent = Requester(), Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, asked, {META_LOG_LEVEL: "info"})
        tasks.start_soon(talk.request, silent, {})
        await eventually(lambda: len(talk.channel.messages) == 2)
        talk.says({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})
        for number in (1, 2):
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    assert len(asked.heard) == 1
    assert silent.heard == []


async def test_changes_that_belong_to_no_request_are_announced() -> None:
    talk = Conversation()

    talk.says({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    talk.says({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "a://b"}})
    talk.says({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})

    assert talk.announced == [
        ("notifications/tools/list_changed", {}),
        ("notifications/resources/updated", {"uri": "a://b"}),
    ]


async def test_a_subscription_hears_what_carries_its_id_and_nothing_else() -> None:
    talk = Conversation("modern", shared=True)
    one, other = Requester(), Requester()

    def changed(id_: Any) -> Json:
        return {
            "jsonrpc": "2.0",
            "method": "notifications/tools/list_changed",
            "params": {"_meta": {META_SUBSCRIPTION_ID: id_}},
        }

    async with anyio.create_task_group() as tasks:
        for peer, own in ((one, "own-1"), (other, "own-2")):
            tasks.start_soon(lambda p=peer, o=own: talk.request(p, {}, "subscriptions/listen", request_id=o))
        await eventually(lambda: len(talk.channel.messages) == 2)
        talk.says(changed(2))
        talk.says(
            {"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete", "_meta": {META_SUBSCRIPTION_ID: 1}}}
        )
        talk.says({"jsonrpc": "2.0", "id": 2, "result": {}})

    assert one.heard == []
    assert other.heard == [("notifications/tools/list_changed", {"_meta": {META_SUBSCRIPTION_ID: "own-2"}})]
    assert {"resultType": "complete", "_meta": {META_SUBSCRIPTION_ID: "own-1"}} in talk.results
    assert talk.announced == []


# -- questions of the server ----------------------------------------------------------------------------------


def question(id_: Any = "q1", method: str = "elicitation/create", task: str | None = None) -> Json:
    meta = {} if task is None else {"_meta": {RELATED_TASK: {"taskId": task}}}
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": {"message": "?", **meta}}


async def test_a_question_goes_to_the_only_requester_and_its_answer_back() -> None:
    talk = Conversation()
    peer = Requester({"action": "accept"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, peer)
        await eventually(lambda: bool(talk.channel.messages))
        talk.says(question())
        await eventually(lambda: bool(talk.channel.responses()))
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {"done": 1}})

    assert peer.asked == [{"method": "elicitation/create", "params": {"message": "?"}}]
    assert talk.channel.responses() == [{"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}}]
    assert talk.results == [{"done": 1}]


async def test_progress_flows_while_a_question_is_open() -> None:
    talk = Conversation()
    peer = Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, peer, {"progressToken": 1})
        await eventually(lambda: bool(talk.channel.messages))
        talk.says(question())
        await eventually(lambda: bool(peer.asked))
        talk.says(
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 5}}
        )
        await eventually(lambda: bool(peer.heard))
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert talk.results == [{}]
    assert talk.channel.responses()[0]["error"]["code"] == -32000


async def test_a_question_is_refused_rather_than_put_to_the_wrong_person() -> None:
    talk = Conversation()
    one, other = Requester({}), Requester({})

    talk.says(question("nobody"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, one)
        tasks.start_soon(talk.request, other)
        tasks.start_soon(talk.request)
        await eventually(lambda: len(talk.channel.of("tools/call")) == 3)
        talk.says(question("whom"))
        for number in (1, 2, 3):
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    refusals = talk.channel.responses()
    assert [refusal["id"] for refusal in refusals] == ["nobody", "whom"]
    assert {refusal["error"]["code"] for refusal in refusals} == {NO_BACK_CHANNEL}
    assert "several clients" in refusals[1]["error"]["message"]
    assert one.asked == other.asked == []


async def test_a_question_of_a_task_is_put_to_whoever_awaits_that_task() -> None:
    talk = Conversation()
    polling, awaiting, calling = Requester({}), Requester({"action": "accept"}), Requester({})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(talk.request, awaiting, method="tasks/result", task="t1"))
        tasks.start_soon(partial(talk.request, polling, method="tasks/get", task="t2"))
        tasks.start_soon(talk.request, calling)
        await eventually(lambda: len(talk.channel.messages) == 3)
        talk.says(question("known", task="t1"))
        await eventually(lambda: bool(talk.channel.responses()))
        for number in (1, 2, 3):
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    assert talk.channel.responses() == [{"jsonrpc": "2.0", "id": "known", "result": {"action": "accept"}}]
    assert (len(awaiting.asked), polling.asked, calling.asked) == (1, [], [])


async def test_a_question_of_a_task_nobody_awaits_is_not_put_to_who_asks_about_another() -> None:
    talk = Conversation()
    polling = Requester({})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(talk.request, polling, method="tasks/get", task="t2"))
        await eventually(lambda: bool(talk.channel.messages))
        talk.says(question("unknown", task="t1"))
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert talk.channel.responses()[0]["error"]["code"] == NO_BACK_CHANNEL
    assert polling.asked == []


async def test_several_requests_of_one_requester_leave_no_doubt_whom_to_ask() -> None:
    talk = Conversation()
    peer = Requester({"action": "decline"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, peer)
        tasks.start_soon(talk.request, peer)
        await eventually(lambda: len(talk.channel.messages) == 2)
        talk.says(question())
        await eventually(lambda: bool(talk.channel.responses()))
        for number in (1, 2):
            talk.says({"jsonrpc": "2.0", "id": number, "result": {}})

    assert talk.channel.responses()[0]["result"] == {"action": "decline"}


async def test_a_question_the_server_takes_back_is_given_up_without_an_answer() -> None:
    talk = Conversation()
    peer = Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, peer)
        await eventually(lambda: bool(talk.channel.messages))
        talk.says(question(7))
        await eventually(lambda: bool(peer.asked))
        talk.says({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        await anyio.sleep(0.01)
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert talk.results == [{}]
    assert talk.channel.responses() == []


async def test_open_questions_are_bounded() -> None:
    talk = Conversation()
    peer = Requester()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request, peer)
        await eventually(lambda: bool(talk.channel.messages))
        for number in range(MAX_QUESTIONS + 1):
            talk.says(question(number))
        assert len(talk.channel.responses()) == 1
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert len(talk.channel.responses()) == MAX_QUESTIONS + 1


async def test_a_ping_is_answered_at_once() -> None:
    talk = Conversation()

    talk.says({"jsonrpc": "2.0", "id": 5, "method": "ping"})

    assert talk.channel.messages == [{"jsonrpc": "2.0", "id": 5, "result": {}}]


async def test_a_modern_server_gets_no_answer_to_what_it_may_not_ask() -> None:
    talk = Conversation("modern")

    talk.says(question())

    assert talk.channel.messages == []


# -- ends -----------------------------------------------------------------------------------------------------


async def test_cancelling_tells_the_server_and_its_late_answer_is_no_nonsense() -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        await eventually(lambda: bool(talk.channel.messages))
        tasks.cancel_scope.cancel()
    for _ in range(MAX_GARBAGE * 2):
        talk.says({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert talk.channel.of("notifications/cancelled")[0]["params"] == {"requestId": 1}
    assert talk.peer.in_flight == 0
    assert talk.peer.closed_because is None


async def test_initialize_is_never_cancelled() -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: talk.request(method="initialize", cancellable=False))
        await eventually(lambda: bool(talk.channel.messages))
        tasks.cancel_scope.cancel()

    assert talk.channel.of("notifications/cancelled") == []


async def test_when_the_server_goes_away_every_request_fails_with_the_reason() -> None:
    talk = Conversation()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk.request)
        tasks.start_soon(talk.request)
        await eventually(lambda: len(talk.channel.messages) == 2)
        talk.peer.ended("It ended with exit status 9.")
        talk.peer.ended("again")

    assert all(isinstance(error, LinkLost) and not error.never_processed for error in talk.results)
    assert "exit status 9" in str(talk.results[0])
    assert talk.peer.closed_because == "It ended with exit status 9."


async def test_a_request_that_could_not_be_written_was_never_begun() -> None:
    talk = Conversation()
    talk.channel.gone = True

    await talk.request()

    assert isinstance(talk.results[0], LinkLost)
    assert talk.results[0].never_processed


async def test_params_that_are_no_json_are_the_callers_error() -> None:
    talk = Conversation()

    with pytest.raises(RpcError, match="cannot be written as JSON"):
        await talk.peer.request("x", {"n": 2**80}, NoPeer())

    assert talk.peer.in_flight == 0

"""A server's task is followed to its end, whatever the server says on the way."""

from typing import Any

import anyio
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import Json, Peer, RpcError
from quantum_suite.hub.translation import server_tasks
from quantum_suite.hub.translation.server_tasks import ServerTask, made_task

pytestmark = pytest.mark.anyio

MADE = {"taskId": "t", "status": "working", "pollIntervalMs": 1}
RESULT = {"content": []}


class Server:
    """Answers with what it was given, in turn, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Json]] = []
        self.told: list[Json] = []

    async def ask(self, method: str, params: Json, peer: Peer) -> Json:
        self.asked.append((method, params))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, dict)
        return answer

    async def notify(self, method: str, params: Json) -> None:
        self.told.append(params)

    async def request(self, method: str, params: Json) -> Json:
        return {"action": "accept", "content": params}

    async def follow(self, era: Any = "modern", made: Json | None = None) -> Json:
        with anyio.fail_after(25):
            return await ServerTask(self.ask, era, made or MADE, "p").result(self, cancel_with_us=True)


@pytest.mark.parametrize("pause", [0, -1, True, "soon", None, 1e400, float("nan")])
async def test_an_absurd_poll_interval_neither_spins_nor_stalls(pause, monkeypatch) -> None:
    monkeypatch.setattr(server_tasks, "_USUAL_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(server_tasks, "LONGEST_PAUSE_SECONDS", 0.02)
    server = Server({**MADE, "status": "completed", "result": RESULT})
    assert (await server.follow(made={**MADE, "pollIntervalMs": pause}))["content"] == []


async def test_questions_are_put_once_and_answered_together() -> None:
    asks = {
        **MADE,
        "status": "input_required",
        "inputRequests": {k: {"method": "m", "params": {"k": k}} for k in "ab"},
    }
    server = Server(asks, {}, asks, {**MADE, "status": "completed", "result": RESULT})
    await server.follow()
    methods = [method for method, _ in server.asked]
    assert methods == ["tasks/get", "tasks/update", "tasks/get", "tasks/get"]
    assert server.asked[1][1]["inputResponses"].keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ({**MADE, "status": "failed", "error": {"code": -7, "message": "m"}}, -7),
        ({**MADE, "status": "failed"}, -32603),
        ({**MADE, "status": "failed", "error": "broken"}, -32603),
        ({**MADE, "status": "completed"}, -32011),
        ({**MADE, "status": "completed", "result": []}, -32011),
        ({**MADE, "status": "cancelled"}, -32000),
        ({**MADE, "status": "input_required", "inputRequests": {"a": "what?"}}, -32011),
        (RpcError(-32602, "Task not found"), -32602),
    ],
)
async def test_an_end_without_a_result_is_an_error(task, code) -> None:
    with pytest.raises(RpcError) as caught:
        await Server(task).follow()
    assert caught.value.code == code


async def test_a_server_that_is_away_for_a_moment_is_asked_again(monkeypatch) -> None:
    monkeypatch.setattr(server_tasks, "_USUAL_PAUSE_SECONDS", 0.01)
    done = {**MADE, "status": "completed", "result": RESULT}
    assert await Server(Unavailable("away"), Unavailable("away"), done).follow()
    monkeypatch.setattr(server_tasks, "AWAY_SECONDS", 0)
    with pytest.raises(Unavailable):
        await Server(*[Unavailable("away")] * 9).follow()


async def test_its_messages_become_progress_and_its_id_stays_there() -> None:
    meta = {"io.modelcontextprotocol/related-task": {"taskId": "t"}}
    server = Server(
        {**MADE, "statusMessage": "half"},
        {**MADE, "statusMessage": "half"},
        {**MADE, "status": "completed"},
        {**RESULT, "_meta": meta},
    )
    assert await server.follow("handshake") == RESULT
    assert server.told == [{"progressToken": "p", "progress": 1, "message": "half"}]
    assert server.asked[-1][0] == "tasks/result"


@pytest.mark.parametrize("result", [{"resultType": "task"}, {"task": {}}, {"task": {"taskId": 7}}])
async def test_a_task_without_an_id_is_refused(result) -> None:
    with pytest.raises(RpcError, match="no id"):
        made_task(result)


async def test_only_what_a_task_is_known_by_is_kept() -> None:
    assert made_task({"content": [], "task": {"taskId": "x"}}) is None
    assert made_task({"task": {"taskId": "x", "status": "working", "secret": 1}}) == {
        "resultType": "task",
        "taskId": "x",
        "status": "working",
    }

"""A tool that may destroy runs when a person said yes to exactly this call, and once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from quantum_suite.core.principals import LOCAL, Principal, Role
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.call import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    REFUSED,
    Call,
    Json,
    NoPeer,
    RpcError,
    Session,
)
from quantum_suite.hub.pipeline.approval import QUESTION_KEY, ApprovalStage
from quantum_suite.hub.pipeline.approval_form import MAX_ARGUMENT_CHARACTERS
from quantum_suite.hub.pipeline.errors import RefusedCall
from quantum_suite.hub.pipeline.sealed_state import StateSeal
from quantum_suite.hub.target import Target

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]

DROP = Target("tool", "ops_drop", "ops", "drop", destructive=True)
CAN_ASK: Json = {"elicitation": {}}
YES: Json = {"action": "accept", "content": {"approve": True}}
NO_FORMS: list[Json] = [{}, {"elicitation": {"url": {}}}, {"elicitation": True}, {"sampling": {}}]


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


class Tool:
    """Notes the parameters it was run with; answers what it is told to, then that it is done."""

    def __init__(self, *answers: Json) -> None:
        self.answers = list(answers)
        self.runs: list[Json] = []

    async def __call__(self, call: Call) -> Json:
        self.runs.append(call.params)
        return self.answers.pop(0) if self.answers else {"resultType": "complete", "content": []}


class Person:
    """A peer whose person answers as told; asked is what they were shown."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Json]] = []

    async def notify(self, method: str, params: Json) -> None:
        raise AssertionError

    async def request(self, method: str, params: Json) -> Json:
        self.asked.append((method, params))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await anyio.sleep_forever()
        answer: Json = self.answer
        return answer


@pytest.fixture
def stage() -> ApprovalStage:
    return ApprovalStage(Authoriser())


@pytest.fixture
def drop(make_call: MakeCall) -> MakeCall:
    """A maker of destructive calls by an operator whose client can ask; keywords go into the parameters."""

    def make(*, principal: Principal | None = None, **params: Any) -> Call:
        call = make_call(target=DROP, client_capabilities=CAN_ASK)
        call.params = {**call.params, "_meta": {"progressToken": 1}, **params}
        if principal is not None:
            call.principal = principal
        return call

    return make


async def ask(stage: ApprovalStage, call: Call) -> str:
    """Make the first round; return the state to come back with."""
    result = await stage(call, Tool())
    assert result["resultType"] == "input_required"
    state: str = result["requestState"]
    return state


async def refusal(stage: ApprovalStage, call: Call) -> RefusedCall:
    """Make a round that has to be refused without the tool being run."""
    tool = Tool()
    with pytest.raises(RefusedCall) as caught:
        await stage(call, tool)
    assert tool.runs == []
    return caught.value


async def test_what_the_policies_let_run_unasked_runs_unasked(stage: ApprovalStage, drop: MakeCall) -> None:
    tool = Tool()
    admin = drop(principal=LOCAL, requestState="the tool's own", inputResponses={"q": {}})
    await stage(admin, tool)
    harmless = drop()
    harmless.target = Target("tool", "ops_set", "ops", "set")
    await stage(harmless, tool)
    assert tool.runs == [admin.params, harmless.params]


async def test_other_methods_are_not_asked_about(stage: ApprovalStage, make_call: MakeCall) -> None:
    tool = Tool()
    await stage(make_call(method="tools/list", params={}), tool)
    await stage(make_call(), tool)  # an unknown name: the router says so
    assert len(tool.runs) == 2


async def test_the_question_shows_the_tool_its_server_and_the_arguments(
    stage: ApprovalStage, drop: MakeCall
) -> None:
    tool = Tool()
    result = await stage(drop(), tool)
    assert tool.runs == []
    assert result.keys() == {"resultType", "inputRequests", "requestState"}
    request = result["inputRequests"][QUESTION_KEY]
    assert request["method"] == "elicitation/create"
    assert request["params"]["mode"] == "form"
    assert request["params"]["message"] == (
        "Run the tool ops_drop of the server ops? It may destroy or overwrite something. "
        'Arguments: {"table": "users"}'
    )
    assert request["params"]["requestedSchema"]["properties"]["approve"]["type"] == "boolean"
    assert request["params"]["requestedSchema"]["required"] == ["approve"]


async def test_the_question_masks_secrets_shows_hidden_characters_and_says_what_it_leaves_out(
    stage: ApprovalStage, drop: MakeCall
) -> None:
    arguments = {"password": "hunter2", "path": "a\u202eb\n\u200bc", "big": 2**70, "long": "ü" * 9000}
    result = await stage(drop(arguments=arguments), Tool())
    message: str = result["inputRequests"][QUESTION_KEY]["params"]["message"]
    assert "hunter2" not in message
    assert '"password": "***"' in message
    assert r'"a\u{202e}b\n\u{200b}c"' in message
    assert message.endswith("characters more, not shown here")
    assert len(message) < MAX_ARGUMENT_CHARACTERS + 200


async def test_a_yes_runs_the_tool_with_the_call_as_it_first_was(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    tool = Tool()
    call = drop(requestState=state, inputResponses={QUESTION_KEY: YES})
    sent = dict(call.params)
    received = call.params
    result = await stage(call, tool)
    assert result == {"resultType": "complete", "content": []}
    assert tool.runs == [drop().params]
    assert received == sent  # the wire's own object


@pytest.mark.parametrize(
    "answer",
    [{"action": "decline"}, {"action": "cancel"}, {"action": "accept", "content": {"approve": False}}],
)
async def test_a_no_refuses_the_call_and_cannot_be_turned_into_a_yes(
    stage: ApprovalStage, drop: MakeCall, answer: Json
) -> None:
    state = await ask(stage, drop())
    error = await refusal(stage, drop(requestState=state, inputResponses={QUESTION_KEY: answer}))
    assert (error.code, error.reason) == (REFUSED, "declined")
    error = await refusal(stage, drop(requestState=state, inputResponses={QUESTION_KEY: YES}))
    assert error.reason == "approval_used"


@pytest.mark.parametrize(
    "responses",
    [None, {}, "yes", {"other": YES}, {QUESTION_KEY: "yes"}, {QUESTION_KEY: {"action": "accept"}}]
    + [{QUESTION_KEY: {"action": "accept", "content": {"approve": value}}} for value in ("true", 1, None)],
)
async def test_no_answer_to_the_question_asks_again(stage: ApprovalStage, drop: MakeCall, responses: Any) -> None:
    state = await ask(stage, drop())
    tool = Tool()
    again = await stage(drop(requestState=state, inputResponses=responses), tool)
    assert again["resultType"] == "input_required"
    assert again["requestState"] != state
    await stage(drop(requestState=again["requestState"], inputResponses={QUESTION_KEY: YES}), tool)
    assert len(tool.runs) == 1


async def test_an_answer_without_the_question_having_been_asked_is_worth_nothing(
    stage: ApprovalStage, drop: MakeCall
) -> None:
    tool = Tool()
    result = await stage(drop(inputResponses={QUESTION_KEY: YES}), tool)
    assert result["resultType"] == "input_required"
    assert tool.runs == []


async def test_a_yes_is_good_once(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    await stage(drop(requestState=state, inputResponses={QUESTION_KEY: YES}), Tool())
    error = await refusal(stage, drop(requestState=state, inputResponses={QUESTION_KEY: YES}))
    assert (error.code, error.reason) == (INVALID_PARAMS, "approval_used")


async def test_a_yes_is_good_for_these_arguments_alone(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    changed = drop(arguments={"table": "orders"}, requestState=state, inputResponses={QUESTION_KEY: YES})
    assert (await refusal(stage, changed)).reason == "approval_mismatched"


async def test_a_yes_is_good_for_this_tool_alone(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    moved = drop(requestState=state, inputResponses={QUESTION_KEY: YES})
    moved.target = Target("tool", "ops_drop", "another", "drop", destructive=True)
    assert (await refusal(stage, moved)).reason == "approval_mismatched"


async def test_a_yes_is_good_for_its_principal_alone(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    other = Principal("key:other", frozenset({Role.OPERATOR}))
    stolen = drop(principal=other, requestState=state, inputResponses={QUESTION_KEY: YES})
    assert (await refusal(stage, stolen)).reason == "approval_mismatched"


async def test_a_yes_that_comes_too_late_is_refused(drop: MakeCall) -> None:
    clock = Clock()
    stage = ApprovalStage(Authoriser(), StateSeal(lifetime_seconds=60, clock=clock))
    state = await ask(stage, drop())
    clock.passed = 60
    error = await refusal(stage, drop(requestState=state, inputResponses={QUESTION_KEY: YES}))
    assert error.reason == "approval_expired"
    assert "Make the call anew" in error.message


@pytest.mark.parametrize("state", ["", "qsa1.AAAA", "made up", 7, {}])
async def test_a_made_up_state_is_refused(stage: ApprovalStage, drop: MakeCall, state: Any) -> None:
    error = await refusal(stage, drop(requestState=state, inputResponses={QUESTION_KEY: YES}))
    assert (error.code, error.reason) == (INVALID_PARAMS, "approval_forged")


async def test_a_changed_state_is_refused(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    changed = state[:60] + ("A" if state[60] != "A" else "B") + state[61:]
    error = await refusal(stage, drop(requestState=changed, inputResponses={QUESTION_KEY: YES}))
    assert error.reason == "approval_forged"


@pytest.mark.parametrize("inner", ["the tool's own state", None])
async def test_a_tool_that_asks_on_its_own_gets_its_state_and_answers_back_without_a_second_approval(
    stage: ApprovalStage, drop: MakeCall, inner: str | None
) -> None:
    question: Json = {"resultType": "input_required", "inputRequests": {"q": {"method": "roots/list"}}}
    if inner is not None:
        question["requestState"] = inner
    tool = Tool(question, dict(question))
    state = await ask(stage, drop())
    first = await stage(drop(requestState=state, inputResponses={QUESTION_KEY: YES}), tool)
    second = await stage(drop(requestState=first["requestState"], inputResponses={"q": {"roots": []}}), tool)
    third = await stage(drop(requestState=second["requestState"], inputResponses={"q": {"roots": [1]}}), tool)

    assert first["inputRequests"] == second["inputRequests"] == question["inputRequests"]
    assert third == {"resultType": "complete", "content": []}
    own = {} if inner is None else {"requestState": inner}
    assert tool.runs == [
        drop().params,
        drop(inputResponses={"q": {"roots": []}}, **own).params,
        drop(inputResponses={"q": {"roots": [1]}}, **own).params,
    ]
    for spent in (state, first["requestState"], second["requestState"]):
        error = await refusal(stage, drop(requestState=spent, inputResponses={"q": {}, QUESTION_KEY: YES}))
        assert error.reason == "approval_used"


async def test_a_tools_round_is_bound_to_the_approved_arguments(stage: ApprovalStage, drop: MakeCall) -> None:
    state = await ask(stage, drop())
    tool = Tool({"resultType": "input_required", "requestState": "own"})
    result = await stage(drop(requestState=state, inputResponses={QUESTION_KEY: YES}), tool)
    changed = drop(arguments={"table": "orders"}, requestState=result["requestState"])
    assert (await refusal(stage, changed)).reason == "approval_mismatched"


async def test_a_round_begun_under_approval_ends_well_when_the_policies_change(
    tmp_path: Path, drop: MakeCall
) -> None:
    authoriser = Authoriser(tmp_path)
    stage = ApprovalStage(authoriser)
    state = await ask(stage, drop())
    tool = Tool({"resultType": "input_required", "requestState": "own"})
    result = await stage(drop(requestState=state, inputResponses={QUESTION_KEY: YES}), tool)
    (tmp_path / "own.cedar").write_text("permit (principal, action, resource);")
    authoriser.reload()
    done = await stage(drop(requestState=result["requestState"], inputResponses={"q": {}}), tool)
    assert done["resultType"] == "complete"
    assert tool.runs[-1] == drop(requestState="own", inputResponses={"q": {}}).params


async def test_two_rounds_with_the_same_yes_at_once_run_the_tool_once(
    stage: ApprovalStage, drop: MakeCall
) -> None:
    state = await ask(stage, drop())
    tool = Tool()
    refused: list[str] = []

    async def answer() -> None:
        try:
            await stage(drop(requestState=state, inputResponses={QUESTION_KEY: YES}), tool)
        except RefusedCall as error:
            refused.append(error.reason)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(answer)
    assert len(tool.runs) == 1
    assert refused == ["approval_used"] * 4


@pytest.mark.parametrize("capabilities", NO_FORMS)
async def test_a_modern_client_that_cannot_ask_is_told_what_is_missing_and_what_to_do(
    stage: ApprovalStage, drop: MakeCall, capabilities: Json
) -> None:
    call = drop()
    call.client_capabilities = capabilities
    error = await refusal(stage, call)
    assert error.code == MISSING_CLIENT_CAPABILITY
    assert error.data["requiredCapabilities"] == {"elicitation": {"form": {}}}
    assert "quantum call ops_drop" in error.data["hint"]


def by_hand(drop: MakeCall, person: Person, capabilities: Json = CAN_ASK) -> Call:
    call = drop()
    call.era, call.peer = "handshake", person
    call.client_capabilities = capabilities
    return call


async def test_a_handshake_client_is_asked_while_the_call_waits(stage: ApprovalStage, drop: MakeCall) -> None:
    person, tool = Person(YES), Tool()
    call = by_hand(drop, person, {"elicitation": {"form": {}, "url": {}}})
    assert await stage(call, tool) == {"resultType": "complete", "content": []}
    ((method, params),) = person.asked
    assert method == "elicitation/create"
    assert params.keys() == {"message", "requestedSchema"}  # `mode` is younger than this era's first revision
    assert tool.runs == [call.params]


async def test_a_handshake_clients_capabilities_are_its_sessions(stage: ApprovalStage, drop: MakeCall) -> None:
    call = by_hand(drop, Person(YES), {})
    assert call.principal is not None
    call.session = Session("s", "2025-11-25", CAN_ASK, {}, call.principal, NoPeer())
    tool = Tool()
    await stage(call, tool)
    assert len(tool.runs) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"action": "decline"}, "declined"),
        ({"action": "cancel"}, "declined"),
        ({"action": "accept", "content": {"approve": False}}, "declined"),
        ({"action": "accept"}, "declined"),
        ({}, "declined"),
        (RpcError(METHOD_NOT_FOUND, "Method not found"), "approval_impossible"),
    ],
)
async def test_a_handshake_call_without_a_yes_is_refused(
    stage: ApprovalStage, drop: MakeCall, answer: Any, reason: str
) -> None:
    error = await refusal(stage, by_hand(drop, Person(answer)))
    assert (error.code, error.reason) == (REFUSED, reason)


async def test_a_handshake_call_waits_for_the_person_a_while_only(drop: MakeCall) -> None:
    stage = ApprovalStage(Authoriser(), StateSeal(lifetime_seconds=0.01))
    with anyio.fail_after(25):
        error = await refusal(stage, by_hand(drop, Person(None)))
    assert error.reason == "approval_unanswered"


@pytest.mark.parametrize("capabilities", NO_FORMS)
async def test_a_handshake_client_that_cannot_ask_is_told_what_to_do(
    stage: ApprovalStage, drop: MakeCall, capabilities: Json
) -> None:
    person = Person(YES)
    error = await refusal(stage, by_hand(drop, person, capabilities))
    assert (error.code, error.reason, person.asked) == (REFUSED, "approval_impossible", [])
    assert "quantum call ops_drop" in error.message


async def test_an_admin_at_a_handshake_client_is_not_asked(stage: ApprovalStage, drop: MakeCall) -> None:
    person, tool = Person(YES), Tool()
    call = by_hand(drop, person)
    call.principal = LOCAL
    await stage(call, tool)
    assert person.asked == []
    assert len(tool.runs) == 1

"""All stages together, in the order the hub folds them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore
from quantum_suite.hub.call import INVALID_PARAMS, RATE_LIMITED, UNAUTHENTICATED, Call, Credentials, Json, RpcError
from quantum_suite.hub.pipeline.accept import AcceptStage
from quantum_suite.hub.pipeline.approval import QUESTION_KEY, ApprovalStage
from quantum_suite.hub.pipeline.audit import AuditStage
from quantum_suite.hub.pipeline.authenticate import AuthenticateStage
from quantum_suite.hub.pipeline.authorise import AuthoriseStage
from quantum_suite.hub.pipeline.cache import CacheStage
from quantum_suite.hub.pipeline.chain import fold
from quantum_suite.hub.pipeline.deadline import DeadlineStage
from quantum_suite.hub.pipeline.errors import translate_errors
from quantum_suite.hub.pipeline.rate_limit import RateLimitStage
from quantum_suite.hub.target import Target
from quantum_suite.services.audit.jsonl import JsonlAuditLog

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]

DROP = Target("tool", "ops_drop", "ops", "drop", destructive=True)


async def last(call: Call) -> Json:
    return {"resultType": "complete", "content": []}


async def test_what_happens_to_calls_is_what_the_audit_log_says(make_call: MakeCall, tmp_path: Path) -> None:
    with SqliteKeyStore(tmp_path / "keys.db") as store, JsonlAuditLog(tmp_path / "audit") as log:
        _, viewer = store.create("watch", ["viewer"])
        _, operator = store.create("ops", ["operator"])
        authoriser = Authoriser(tmp_path / "policies")
        handler = fold(
            [
                AuditStage(log),
                translate_errors,
                AuthenticateStage(Authenticator(KeyVerifier(store), trust_local=False)),
                AuthoriseStage(authoriser),
                RateLimitStage(12),
                ApprovalStage(authoriser),
                CacheStage(),
                AcceptStage(log),
                DeadlineStage(10),
            ],
            last,
        )

        def call(token: str | None, **params: object) -> Call:
            made = make_call(principal=None, target=DROP, client_capabilities={"elicitation": {}})
            made.credentials = Credentials("http", True, token)
            made.params = {**made.params, **params}
            return made

        codes: list[int] = []
        for token in (None, viewer):
            with pytest.raises(RpcError) as caught:
                await handler(call(token))
            codes.append(caught.value.code)
        asked = await handler(call(operator))
        yes = {QUESTION_KEY: {"action": "accept", "content": {"approve": True}}}
        await handler(call(operator, requestState=asked["requestState"], inputResponses=yes))
        with pytest.raises(RpcError) as caught:
            await handler(call(operator))
        codes.append(caught.value.code)
        records = list(log.read())

    assert codes == [UNAUTHENTICATED, INVALID_PARAMS, RATE_LIMITED]
    assert [(r.principal, r.outcome, r.reason) for r in records] == [
        (None, "refused", "unauthenticated"),
        ("key:watch", "refused", "hidden"),
        ("key:ops", "input_required", None),
        ("key:ops", "accepted", None),
        ("key:ops", "ok", None),
        ("key:ops", "refused", "rate_limited"),
    ]
    assert len({r.arguments_sha256 for r in records}) == 1

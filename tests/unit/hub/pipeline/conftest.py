"""Calls as the wire makes them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.call import Call, Credentials, NoPeer

MakeCall = Callable[..., Call]

OPERATOR = Principal("key:ops", frozenset({Role.OPERATOR}))
BASE = Call(
    id="call_1",
    method="tools/call",
    params={"name": "ops_drop", "arguments": {"table": "users"}},
    era="modern",
    protocol_version="2026-07-28",
    credentials=Credentials("http", loopback=True),
    peer=NoPeer(),
)


@pytest.fixture
def make_call() -> MakeCall:
    """Return a maker of modern-era tool calls by an operator; any field can be given."""

    def make(**fields: Any) -> Call:
        fields.setdefault("principal", OPERATOR)
        return replace(BASE, **fields)

    return make

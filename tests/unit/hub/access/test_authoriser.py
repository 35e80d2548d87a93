"""What the shipped roles may do, and how an operator's policies change it."""

import logging
from pathlib import Path

import cedarpy
import pytest

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.principals import LOCAL, Principal, Role
from quantum_suite.hub.access.authoriser import Action, Authoriser
from quantum_suite.hub.target import Target

NOBODY = Principal("key:nobody")
VIEWER = Principal("key:viewer", frozenset({Role.VIEWER}))
OPERATOR = Principal("key:operator", frozenset({Role.OPERATOR}))
ADMIN = Principal("key:admin", frozenset({Role.ADMIN}))
EVERYBODY = (NOBODY, VIEWER, OPERATOR, ADMIN)

READS = Target("tool", "ops_show", "ops", "show", read_only=True)
WRITES = Target("tool", "ops_set", "ops", "set")
DESTROYS = Target("tool", "ops_drop", "ops", "drop", destructive=True, input_schema={"type": "object"})
PROMPT = Target("prompt", "ops_ask", "ops", "ask", read_only=True)
RESOURCE = Target("resource", 'file:///a "b"\n', "ops", "file", read_only=True)


@pytest.mark.parametrize(
    ("action", "target", "allowed"),
    [
        ("use", None, (False, True, True, True)),
        ("get", PROMPT, (False, True, True, True)),
        ("read", RESOURCE, (False, True, True, True)),
        ("call", READS, (False, True, True, True)),
        ("call", WRITES, (False, False, True, True)),
        ("call", DESTROYS, (False, False, True, True)),
        ("callWithoutApproval", READS, (False, True, True, True)),
        ("callWithoutApproval", WRITES, (False, False, True, True)),
        ("callWithoutApproval", DESTROYS, (False, False, False, True)),
    ],
)
def test_the_roles_allow_what_they_say(action: Action, target: Target | None, allowed: tuple[bool, ...]) -> None:
    authoriser = Authoriser()
    for _ in range(2):  # decided, then remembered
        assert tuple(authoriser.allows(who, action, target) for who in EVERYBODY) == allowed


def test_an_action_of_another_kind_of_target_is_denied_even_to_admins() -> None:
    assert not Authoriser().allows(ADMIN, "call", PROMPT)


def test_lists_hold_what_may_be_used_in_the_order_given() -> None:
    authoriser = Authoriser()
    everything = [DESTROYS, RESOURCE, READS, PROMPT, WRITES]
    assert authoriser.visible(VIEWER, everything) == [RESOURCE, READS, PROMPT]
    assert authoriser.visible(OPERATOR, everything) == everything
    assert authoriser.visible(NOBODY, everything) == []


def write_policy(directory: Path, text: str, name: str = "own.cedar") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text)
    return directory


def test_an_operators_forbid_takes_a_server_from_everybody(tmp_path: Path) -> None:
    policies = write_policy(
        tmp_path, 'forbid (principal, action, resource in Quantum::Server::"ops") unless { false };'
    )
    authoriser = Authoriser(policies)
    assert not authoriser.sees(ADMIN, READS)
    assert authoriser.sees(ADMIN, Target("tool", "time_now", "time", "now", read_only=True))
    assert authoriser.sources == ("roles.cedar", str(policies / "own.cedar"))


def test_an_operators_permit_gives_one_key_one_tool_by_name(tmp_path: Path) -> None:
    policies = write_policy(
        tmp_path,
        'permit (principal == Quantum::Principal::"key:viewer", action == Quantum::Action::"call", resource)\n'
        'when { resource.name like "ops_s*" };',
    )
    authoriser = Authoriser(policies)
    assert authoriser.allows(VIEWER, "call", WRITES)
    assert not authoriser.allows(VIEWER, "call", DESTROYS)
    assert not authoriser.allows(Principal("key:other", VIEWER.roles), "call", WRITES)


def test_an_operator_may_have_even_admins_asked(tmp_path: Path) -> None:
    policies = write_policy(
        tmp_path,
        'forbid (principal, action == Quantum::Action::"callWithoutApproval", resource)\n'
        "when { resource.destructive };",
    )
    authoriser = Authoriser(policies)
    assert authoriser.allows(LOCAL, "call", DESTROYS)
    assert not authoriser.allows(LOCAL, "callWithoutApproval", DESTROYS)


def test_reading_the_policies_again_forgets_what_was_decided(tmp_path: Path) -> None:
    authoriser = Authoriser(tmp_path)
    assert authoriser.allows(ADMIN, "call", WRITES)
    write_policy(tmp_path, "forbid (principal, action, resource);")
    assert authoriser.allows(ADMIN, "call", WRITES)
    authoriser.reload()
    assert not authoriser.allows(ADMIN, "call", WRITES)


def test_a_wrong_policy_on_reload_keeps_those_in_force(tmp_path: Path) -> None:
    authoriser = Authoriser(tmp_path)
    write_policy(tmp_path, "forbid (principal, action);")
    with pytest.raises(ConfigurationError):
        authoriser.reload()
    assert authoriser.allows(ADMIN, "call", WRITES)


def test_a_forbid_that_fails_to_evaluate_denies_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policies = write_policy(
        tmp_path,
        'forbid (principal, action == Quantum::Action::"call", resource)\n'
        "when { 9223372036854775807 + (if resource.read_only then 1 else 0) == 0 };",
    )
    authoriser = Authoriser(policies)
    with caplog.at_level(logging.ERROR):
        assert not authoriser.allows(ADMIN, "call", READS)
    assert "fails to evaluate" in caplog.text
    assert authoriser.allows(ADMIN, "call", WRITES)


def test_a_tool_whose_annotations_change_is_decided_anew() -> None:
    authoriser = Authoriser()
    assert authoriser.sees(VIEWER, READS)
    assert not authoriser.sees(VIEWER, Target("tool", "ops_show", "ops", "show", read_only=False))


def test_a_key_that_changes_its_role_is_decided_anew() -> None:
    authoriser = Authoriser()
    assert not authoriser.sees(VIEWER, WRITES)
    assert authoriser.sees(Principal(VIEWER.id, frozenset({Role.ADMIN})), WRITES)


def test_remembered_decisions_are_bounded_and_the_latest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = cedarpy.is_authorized

    def is_authorized(request: dict[str, dict[str, str]], *rest: object) -> cedarpy.AuthzResult:
        asked.append(request["resource"]["id"])
        return real(request, *rest)  # type: ignore[arg-type]  # passed on as received

    monkeypatch.setattr(cedarpy, "is_authorized", is_authorized)
    authoriser = Authoriser(max_decisions=2)
    tools = [Target("tool", f"t{n}", "s", f"t{n}") for n in range(3)]
    for tool in (tools[0], tools[1], tools[0], tools[2], tools[0], tools[1]):
        authoriser.sees(ADMIN, tool)
    assert asked == ["t0", "t1", "t2", "t1"]

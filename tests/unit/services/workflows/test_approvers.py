"""Who may answer an approval."""

import pytest

from quantum_suite.core.principals import Role
from quantum_suite.services.workflows.approvers import may_approve


@pytest.mark.parametrize(
    ("approvers", "principal", "role", "may"),
    [
        ([], "ada", Role.OPERATOR, True),
        ([], "bob", Role.OPERATOR, False),
        ([], "root", Role.ADMIN, True),
        (["key:bob"], "key:bob", Role.VIEWER, True),
        (["key:bob"], "ada", Role.OPERATOR, False),
        (["key:bob"], "root", Role.ADMIN, False),
        (["admin"], "ada", Role.OPERATOR, False),
        (["admin"], "root", Role.ADMIN, True),
        (["operator"], "root", Role.ADMIN, True),
        (["operator"], "eve", Role.VIEWER, False),
        (["admin", "ada"], "ada", Role.OPERATOR, True),
    ],
)
def test_those_named_may_answer_and_without_names_the_owner_and_admins(
    approvers: list[str], principal: str, role: Role, may: bool
) -> None:
    assert may_approve(approvers, principal, [role], owner="ada") is may

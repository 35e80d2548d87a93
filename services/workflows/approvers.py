"""Who may answer the approval that a run waits for."""

from collections.abc import Collection, Sequence

from quantum_suite.core.principals import Role

_INCLUDES = {
    Role.VIEWER: {Role.VIEWER},
    Role.OPERATOR: {Role.VIEWER, Role.OPERATOR},
    Role.ADMIN: {Role.VIEWER, Role.OPERATOR, Role.ADMIN},
}


def may_approve(approvers: Sequence[str], principal: str, roles: Collection[Role], owner: str) -> bool:
    """Whether a principal is among `approvers` (ids of principals, or names of roles).

    With approvers named, nobody else may: neither the run's owner nor an admin. With none named, the owner and
    admins may.
    """
    held = {included.value for role in roles for included in _INCLUDES[Role(role)]}
    if approvers:
        return principal in approvers or not held.isdisjoint(approvers)
    return principal == owner or Role.ADMIN.value in held

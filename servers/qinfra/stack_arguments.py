"""The arguments by which tools name a stack and a plan of it."""

from typing import Annotated

from pydantic import Field

from quantum_suite.core.principals import Principal
from quantum_suite.services.infrastructure.interface import StackRef
from quantum_suite.services.infrastructure.state.files import checked_stack
from quantum_suite.services.workspaces import Workspaces

DIGEST_PATTERN = "^[0-9a-f]{64}$"

Folder = Annotated[
    str,
    Field(description="The folder with Pulumi.yaml, absolute or below your first workspace.", max_length=4_096),
]
Stack = Annotated[str, Field(description="The stack's name, e.g. dev.", max_length=100)]
Digest = Annotated[
    str, Field(description="The digest that preview_stack answered: exactly that plan.", pattern=DIGEST_PATTERN)
]


def stack_ref(workspaces: Workspaces, folder: str, stack: str, principal: Principal) -> StackRef:
    """Return the stack a caller names; raises CallerError for a folder outside their workspaces and a bad name."""
    return StackRef(workspaces.resolve(folder, principal, argument="folder"), checked_stack(stack))

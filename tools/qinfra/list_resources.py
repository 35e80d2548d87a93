"""Lists what stacks manage, and what exists in the account and no stack knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread

from quantum_suite.services.aws_inventory.inventory import TYPES, Item, list_aws
from quantum_suite.services.aws_inventory.managed import every_state, unmanaged
from quantum_suite.services.infrastructure.interface import StackRef
from quantum_suite.services.infrastructure.opening import Infrastructure


@dataclass(frozen=True, slots=True)
class Managed:
    """A resource of a stack."""

    urn: str
    type: str
    name: str
    id: str
    protected: bool


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """What no stack knows, and of what that cannot be said."""

    items: Sequence[Item]
    counted: int
    """How many resources the account was found to have."""
    not_listed: Mapping[str, str]
    cut: Sequence[str]
    unread: Sequence[str]
    """Stacks whose state is damaged: what they manage counts as unmanaged."""


@dataclass(frozen=True, slots=True)
class ResourceLister:
    """What listing needs. One object serves every call."""

    infrastructure: Infrastructure

    async def managed(self, ref: StackRef) -> list[Managed]:
        """Return a stack's resources in the order of their making."""
        state = await self.infrastructure.engine.state(ref)
        return [
            Managed(one.urn, one.type, one.name, one.id, one.protect)
            for one in state.resources
            if one.custom and not one.external and not one.delete and not one.type.startswith("pulumi:")
        ]

    async def unmanaged(self, types: Sequence[str] = ()) -> Unmanaged:
        """Return what AWS has and no stack of this suite knows. Raises as `list_aws` does."""
        inventory = await list_aws(self.infrastructure.environment, tuple(types) or TYPES)
        states, unread = await anyio.to_thread.run_sync(every_state, self.infrastructure.states)
        return Unmanaged(
            unmanaged(inventory.items, states),
            len(inventory.items),
            inventory.not_listed,
            inventory.cut,
            unread,
        )

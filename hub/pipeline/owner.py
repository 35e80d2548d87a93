"""Finds out who somebody is now, for work that goes on in their name."""

from quantum_suite.core.errors import Unauthenticated
from quantum_suite.hub.access.owners import Owners
from quantum_suite.hub.call import Call, Handler, Json


class OwnerStage:
    """Takes the place of authentication where no credentials come with the call: `call.principal` is the owner as
    known when the work began, and becomes the owner with the rights left to it now.
    """

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Look the owner up, then call on; raises Unauthenticated when it may do nothing any more."""
        if call.principal is None:
            raise Unauthenticated("Nobody is known to own this work.")
        call.principal = await self._owners.current(call.principal)
        return await handler(call)

"""Finds out who is calling."""

from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.call import SESSION_NOT_FOUND, Call, Handler, Json
from quantum_suite.hub.pipeline.errors import RefusedCall


class AuthenticateStage:
    """Sets `call.principal`; a call on somebody else's session is answered as if there were no such session."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Authenticate, then call on. Raises what `Authenticator.authenticate` raises."""
        principal = await self._authenticator.authenticate(call.credentials)
        call.principal = principal
        if call.session is not None and call.session.principal.id != principal.id:
            raise RefusedCall(SESSION_NOT_FOUND, "Session not found.", reason="foreign_session")
        return await handler(call)

"""Who is calling: the person at this machine, or the holder of a key."""

from quantum_suite.core.errors import Unauthenticated
from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.call import Credentials


class Authenticator:
    """Turns what the transport knows into a principal.

    Whoever runs the hub as a child process or inside its own is local. Over HTTP a token is always checked, and a
    wrong one is refused: it is never overlooked in favour of local trust. Without a token a caller on this
    machine is local where `trust_local` says so; everybody else is refused.
    """

    def __init__(self, keys: KeyVerifier, *, trust_local: bool) -> None:
        self._keys = keys
        self._trust_local = trust_local

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return the caller; raises Unauthenticated, or Unavailable when keys cannot be looked up now."""
        if credentials.transport != "http":
            return LOCAL
        if credentials.bearer is not None:
            return await self._keys.verify(credentials.bearer)
        if credentials.loopback and self._trust_local:
            return LOCAL
        raise Unauthenticated(
            "This hub needs an API key.",
            "Make one with `quantum keys create` and send it as `Authorization: Bearer <key>`.",
        )

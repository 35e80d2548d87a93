"""Refuses what no policy permits."""

from quantum_suite.core.errors import Refused
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.call import INVALID_PARAMS, LEGACY_RESOURCE_NOT_FOUND, Call, Handler, Json
from quantum_suite.hub.pipeline.errors import RefusedCall
from quantum_suite.hub.target import Target


class AuthoriseStage:
    """Lets a call through when the policies permit its principal to use the hub, and the target if there is one.

    What a principal may not use it cannot tell from what does not exist: the refusal is word for word the
    router's answer to an unknown name.
    """

    def __init__(self, authoriser: Authoriser) -> None:
        self._authoriser = authoriser

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Authorise, then call on."""
        principal, target = call.principal, call.target
        if principal is None:
            raise Refused("Nobody is known to make this call.")
        if not self._authoriser.allows(principal, "use", None):
            raise Refused(
                f"{principal.id} has no role that lets it use this hub.", "Ask its operator for a key with one."
            )
        if target is not None and not self._authoriser.sees(principal, target):
            raise _hidden(call, target)
        return await handler(call)


def _hidden(call: Call, target: Target) -> RefusedCall:
    if target.kind == "resource":
        asked = call.params.get("uri")
        uri = asked if isinstance(asked, str) else target.name
        code = INVALID_PARAMS if call.era == "modern" else LEGACY_RESOURCE_NOT_FOUND
        return RefusedCall(code, f"Resource not found: {uri}", {"uri": uri}, reason="hidden")
    return RefusedCall(INVALID_PARAMS, f"Unknown {target.kind}: {target.name}", reason="hidden")

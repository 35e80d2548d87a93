"""What stays open for long ends when the key that opened it does."""

from collections.abc import Awaitable, Callable

import anyio

from quantum_suite.core.errors import SuiteError, Unauthenticated
from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import UNAUTHENTICATED, Credentials, RpcError

RECHECK_SECONDS = 5.0

Authenticate = Callable[[Credentials], Awaitable[Principal]]


async def until_refused(authenticate: Authenticate, credentials: Credentials, principal: Principal) -> None:
    """Return once the credentials no longer make their holder this principal with these roles.

    Waits for ever where nothing was shown: the trust in this machine does not end. A key store that is out of
    reach is no reason to return.
    """
    if credentials.bearer is None:
        await anyio.sleep_forever()
    while True:
        await anyio.sleep(RECHECK_SECONDS)
        try:
            now = await authenticate(credentials)
        except Unauthenticated:
            return
        except RpcError as error:
            if error.code == UNAUTHENTICATED:
                return
        except SuiteError:
            continue
        else:
            if now != principal:
                return

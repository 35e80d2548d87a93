"""Work that goes on without its owner has the rights the owner has left."""

import pytest

from quantum_suite.core.errors import Unauthenticated
from quantum_suite.core.principals import LOCAL, Role
from quantum_suite.hub.access.memory_keys import MemoryKeyStore
from quantum_suite.hub.access.owners import Owners

pytestmark = pytest.mark.anyio


async def test_who_somebody_is_now_is_looked_up_every_time() -> None:
    keys = MemoryKeyStore()
    owners = Owners(keys)
    keys.create("ada", [Role.OPERATOR], workspaces=["/srv"])
    now = await owners.now("key:ada")
    assert (now.id, now.roles, now.workspaces) == ("key:ada", {Role.OPERATOR}, ("/srv",))
    assert await owners.now("local") == LOCAL
    keys.revoke("ada")
    for gone in ("key:ada", "key:never", "oidc:ada", ""):
        with pytest.raises(Unauthenticated, match="revoked or has expired"):
            await owners.now(gone)

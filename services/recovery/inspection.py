"""Looks at a live server from a process of its own, whose environment has the credentials for it and no others."""

import json
import sys
from collections.abc import Mapping

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.masking import mask_text
from quantum_suite.services import process
from quantum_suite.services.recovery.facts import ServerFacts
from quantum_suite.services.recovery.live_source import LiveServer, credentials_for

_SECONDS = 60.0
_COMMAND = (sys.executable, "-I", "-m", "quantum_suite.services.recovery.facts")


async def inspect(server: LiveServer, environ: Mapping[str, str]) -> ServerFacts:
    """Return what is known of a server; raises Unavailable when it does not answer, or not to us."""
    try:
        done = await process.run(
            _COMMAND,
            env=credentials_for(server, environ),
            stdin=json.dumps(server.conninfo).encode(),
            timeout_seconds=_SECONDS,
            max_output_bytes=1_000_000,
        )
    except process.ProcessError as error:
        raise Unavailable(
            f"PostgreSQL at {server.shown} did not answer within {_SECONDS:g} seconds.", "Look at it first."
        ) from error
    said = json.loads(done.stdout or b'{"error": "the process that looked at it failed"}')
    if "facts" not in said:
        raise Unavailable(
            f"PostgreSQL at {server.shown} cannot be looked at: {mask_text(said['error'])}",
            "Check the address and the role's rights. Its password belongs into the hub's environment: "
            "PGPASSFILE, "
            "or PGPASSWORD with the PGHOST it is for.",
        )
    return ServerFacts.model_validate(said["facts"])

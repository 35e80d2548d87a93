"""What a call asks for, in 64 characters."""

import hashlib
import json

import orjson

from quantum_suite.hub.call import Json

_NOT_ARGUMENTS = ("_meta", "requestState", "inputResponses")


def arguments_digest(params: Json) -> str:
    """Return the hex SHA-256 of the parameters' canonical JSON: keys sorted, no spaces.

    Left out is what changes from one round of the same call to the next: `_meta`, `requestState` and
    `inputResponses`. Two calls have the same digest when they ask the same thing for the same values.
    """
    asked = {name: value for name, value in params.items() if name not in _NOT_ARGUMENTS}
    try:
        canonical = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # what orjson cannot write: integers beyond 64 bits, lone surrogates
        canonical = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()

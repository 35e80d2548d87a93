"""Snapshots as bytes: encrypted like events, and given up without a word when they no longer open."""

import orjson
from pydantic_core import from_json

from quantum_suite.core.errors import CallerError, Damaged
from quantum_suite.services.events.encoding import is_stream
from quantum_suite.services.events.interface import Snapshot
from quantum_suite.services.events.sealing import EventCipher


async def seal_snapshot(snapshot: Snapshot, cipher: EventCipher) -> bytes:
    """Return the state as it is stored; raises CallerError when it is not JSON."""
    if not is_stream(snapshot.stream):
        raise CallerError(f"{snapshot.stream[:100]!r} names no stream.", argument="snapshot")
    try:
        plain = orjson.dumps(snapshot.state)
    except TypeError as error:
        raise CallerError(
            f"The snapshot of {snapshot.stream} is not JSON: {error}.", argument="snapshot"
        ) from error
    seal = await cipher.sealing(())
    return seal.seal(plain, _place(snapshot.stream, snapshot.version, snapshot.schema))


async def open_snapshot(
    stream: str, version: int, schema: int, sealed: bytes, cipher: EventCipher
) -> Snapshot | None:
    """Return a stored snapshot; None when its key is gone or its bytes were altered."""
    try:
        opening = await cipher.opening([sealed], [])
        state = from_json(opening.open(sealed, _place(stream, version, schema)))
    except (Damaged, ValueError):
        return None
    return Snapshot(stream, version, state, schema)


def _place(stream: str, version: int, schema: int) -> bytes:
    return f"snapshot\n{stream}\n{version}\n{schema}".encode()

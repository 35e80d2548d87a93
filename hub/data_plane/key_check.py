"""Refuses to begin with keys that are not those of the data."""

from quantum_suite.core.errors import ConfigurationError, Damaged
from quantum_suite.hub.data_plane.stores import Stores
from quantum_suite.services.encryption.cipher import key_id_of


async def check_keys(stores: Stores) -> None:
    """Make sure that the keys at hand are those the event log was begun with.

    A machine that joins others with keys of its own would read nothing of theirs, and write what they cannot read:
    from then on nobody could follow the log. Raises ConfigurationError, and Unavailable.
    """
    known = set(await stores.keys.ids())
    for event in await stores.events.read_stored(limit=1):
        try:
            key_id = key_id_of(event.payload)
        except Damaged:
            return  # no matter of keys: whoever reads it says what is wrong
        if key_id not in known:
            raise ConfigurationError(
                "The events in the store are encrypted under keys that are not at hand.",
                "Set QUANTUM_ENCRYPTION_KEYS to where they are: all machines of one database share them. Keys that"
                " are lost come back from a backup alone.",
            )

"""How an event store encrypts: the port it asks for keys and ciphertext, and what does without encryption.

Keys are awaited once for a whole append or page; sealing and opening with them is synchronous and cheap, and may
happen in another thread than the one that awaited them. What is sealed is bound to where it lies (`place`): put
anywhere else, it does not open.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from quantum_suite.core.errors import ConfigurationError


class Seal(Protocol):
    """Keys at hand to encrypt with. Thread-safe."""

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Encrypt a payload under the newest data key. The result names the key."""
        ...

    def seal_personal(self, subject: str, plain: bytes, place: bytes) -> bytes:
        """Encrypt what is said of a data subject, under the subject's own key. The result names the key.

        The subject is one of those the keys were asked for.
        """
        ...


class Opening(Protocol):
    """Keys at hand to decrypt with. Thread-safe."""

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypt a payload; raises Damaged when it is not what was sealed at that place, or its key is gone."""
        ...

    def open_personal(self, subject: str, sealed: bytes, place: bytes) -> bytes | None:
        """Decrypt what is said of a data subject; None when the subject's key was erased.

        Raises Damaged when it is not what was sealed for that subject at that place.
        """
        ...


class EventCipher(Protocol):
    """Encrypts and decrypts events. Methods raise Unavailable while keys cannot be had."""

    async def sealing(self, subjects: Collection[str]) -> Seal:
        """Return the keys to append with: the newest data key, and one for each of these data subjects.

        Keys of subjects that had none are durable once this returns. Cheap when nothing has changed.
        """
        ...

    async def opening(self, sealed: Sequence[bytes], personal: Sequence[bytes]) -> Opening:
        """Return the keys that these payloads and these personal parts (as `Seal` returned them) name."""
        ...

    async def erase(self, subject: str) -> bool:
        """Destroy the subject's key for good; returns whether there was one."""
        ...


class NoCipher:
    """No encryption: payloads lie in the store as they are. Refuses personal data, which needs subjects' keys."""

    async def sealing(self, subjects: Collection[str]) -> "NoCipher":
        """Return itself; raises ConfigurationError when there are subjects."""
        if subjects:
            raise _no_subject_keys()
        return self

    async def opening(self, sealed: Sequence[bytes], personal: Sequence[bytes]) -> "NoCipher":
        """Return itself; raises ConfigurationError when there is a personal part."""
        if personal:
            raise _no_subject_keys()
        return self

    async def erase(self, subject: str) -> bool:
        """Raise ConfigurationError: there is no saying that nothing is kept under a key that cannot be reached."""
        raise _no_subject_keys()

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Return `plain`."""
        return plain

    def seal_personal(self, subject: str, plain: bytes, place: bytes) -> bytes:
        """Raise ConfigurationError."""
        raise _no_subject_keys()

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return `sealed`."""
        return sealed

    def open_personal(self, subject: str, sealed: bytes, place: bytes) -> bytes | None:
        """Raise ConfigurationError."""
        raise _no_subject_keys()


def place_of(stream: str, version: int, event_id: str) -> bytes:
    """Return what an event's ciphertext is bound to: no two events have the same."""
    return f"{stream}\n{version}\n{event_id}".encode()


def _no_subject_keys() -> ConfigurationError:
    return ConfigurationError(
        "Events hold personal data, and this event store has no keys to keep it under.",
        "Switch encryption on: give the event store a key provider.",
    )

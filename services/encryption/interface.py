"""The ports to keys: where the suite's data keys come from, and where data subjects' keys are kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DataKey:
    """A 256-bit key and the name that ciphertext carries."""

    id: str
    secret: bytes = field(repr=False)


class KeyProvider(Protocol):
    """Keeps the keys data is encrypted under. The newest one encrypts; older ones still decrypt.

    Raises Unavailable while it cannot be reached, ConfigurationError when it is not usable as it is (a key file
    others may read, a token that is refused), and Damaged for a key that is gone.
    """

    async def current(self) -> DataKey:
        """Return the key to encrypt with; makes the first one where there is none."""
        ...

    async def get(self, key_id: str) -> DataKey:
        """Return a key by its name; raises Damaged when it is not there."""
        ...

    async def rotate(self) -> DataKey:
        """Make a new key and return it: it encrypts from now on."""
        ...

    async def ids(self) -> Sequence[str]:
        """Return the names of the keys there are, oldest first."""
        ...


class SubjectKeys(Protocol):
    """One key for each person data is kept about. They lie wrapped (encrypted) under the provider's keys."""

    async def obtain(self, subjects: Sequence[str]) -> dict[str, DataKey]:
        """Return the subjects' keys, making those that do not exist. Durable once this returns."""
        ...

    async def find(self, key_ids: Sequence[str]) -> dict[str, DataKey]:
        """Return the keys of these ids that still exist."""
        ...

    async def erase(self, subject: str) -> bool:
        """Destroy the subject's keys for good; returns whether there were any. Every process forgets them."""
        ...

    async def rewrap(self) -> int:
        """Wrap every key under the provider's newest; returns how many were wrapped anew."""
        ...

    async def count(self) -> int:
        """Return how many subjects have a key."""
        ...

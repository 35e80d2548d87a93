"""Wrapped keys of data subjects in memory."""

from collections.abc import Sequence

from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.encryption.subjects.interface import WrappedKey
from quantum_suite.services.encryption.subjects.wrapped import WrappedSubjectKeys


class MemorySubjectKeyRows:
    """Keeps the rows of this process."""

    def __init__(self) -> None:
        self._by_subject: dict[str, WrappedKey] = {}
        self._erasures = 0

    async def erasures(self) -> int:
        """Return how many erasures there were."""
        return self._erasures

    async def of_subjects(self, subjects: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of those subjects that have one."""
        return [self._by_subject[subject] for subject in subjects if subject in self._by_subject]

    async def of_ids(self, key_ids: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of these names."""
        wanted = set(key_ids)
        return [key for key in self._by_subject.values() if key.id in wanted]

    async def add(self, keys: Sequence[WrappedKey]) -> None:
        """Add keys of subjects that have none."""
        for key in keys:
            self._by_subject.setdefault(key.subject, key)

    async def remove(self, subject: str) -> bool:
        """Drop the subject's key."""
        removed = self._by_subject.pop(subject, None) is not None
        self._erasures += removed
        return removed

    async def page(self, after_id: str, limit: int) -> list[WrappedKey]:
        """Return keys by name."""
        return sorted(key for key in self._by_subject.values() if key.id > after_id)[:limit]

    async def replace(self, key_id: str, old: bytes, new: bytes) -> bool:
        """Put `new` in the place of `old`."""
        for subject, key in self._by_subject.items():
            if key.id == key_id and key.wrapped == old:
                self._by_subject[subject] = key._replace(wrapped=new)
                return True
        return False

    async def count(self) -> int:
        """Return how many keys there are."""
        return len(self._by_subject)


def memory_subject_keys(provider: KeyProvider) -> WrappedSubjectKeys:
    """Return subjects' keys that end with the process."""
    return WrappedSubjectKeys(MemorySubjectKeyRows(), provider)

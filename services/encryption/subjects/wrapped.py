"""Data subjects' keys over any rows: made, wrapped, cached for a moment, erased."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from quantum_suite.services.encryption.cipher import key_id_of, new_data_key
from quantum_suite.services.encryption.data_cipher import DataCipher
from quantum_suite.services.encryption.interface import DataKey, KeyProvider
from quantum_suite.services.encryption.subjects.interface import SubjectKeyRows, WrappedKey

FORGET_SECONDS = 1.0
"""How long after an erasure another process may go on using the key at most."""

_KEYS_KEPT = 10_000
_PAGE = 500


class WrappedSubjectKeys:
    """One key for each data subject, wrapped under the provider's newest key.

    Unwrapped keys are kept in memory. Before they are used the count of erasures is looked at, at most
    `forget_seconds` ago, and any change empties the cache: that long at most another process may seal under, or
    open with, a key that is gone. What it seals meanwhile is erased with the key. The process that erases forgets
    at once.
    """

    def __init__(
        self,
        rows: SubjectKeyRows,
        provider: KeyProvider,
        *,
        forget_seconds: float = FORGET_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._cipher = DataCipher(provider)
        self._forget_seconds = forget_seconds
        self._monotonic = monotonic
        self._by_subject: OrderedDict[str, DataKey] = OrderedDict()
        self._by_id: OrderedDict[str, DataKey] = OrderedDict()
        self._erasures = -1
        self._fresh_until = 0.0
        self._epoch = 0

    async def obtain(self, subjects: Sequence[str]) -> dict[str, DataKey]:
        """Return the subjects' keys, making those that do not exist."""
        if not subjects:
            return {}
        await self._notice_erasures()
        keys = {subject: self._by_subject[subject] for subject in subjects if subject in self._by_subject}
        missing = [subject for subject in dict.fromkeys(subjects) if subject not in keys]
        while missing:
            epoch = self._epoch
            found = await self._rows.of_subjects(missing)
            keys |= await self._unwrap(found, epoch)
            missing = [subject for subject in missing if subject not in keys]
            if missing:
                await self._rows.add([await self._fresh(subject) for subject in missing])
        return keys

    async def find(self, key_ids: Sequence[str]) -> dict[str, DataKey]:
        """Return the keys of these names that still exist."""
        if not key_ids:
            return {}
        await self._notice_erasures()
        keys = {key_id: self._by_id[key_id] for key_id in key_ids if key_id in self._by_id}
        missing = [key_id for key_id in dict.fromkeys(key_ids) if key_id not in keys]
        if missing:
            epoch = self._epoch
            found = await self._unwrap(await self._rows.of_ids(missing), epoch)
            keys |= {key.id: key for key in found.values()}
        return keys

    async def erase(self, subject: str) -> bool:
        """Destroy the subject's key."""
        removed = await self._rows.remove(subject)
        self._forget()
        return removed

    async def rewrap(self) -> int:
        """Wrap every key under the provider's newest. Keys made or erased meanwhile are left as they are."""
        sealer = await self._cipher.sealer(newest=True)
        changed, after = 0, ""
        while page := await self._rows.page(after, _PAGE):
            for row in page:
                if key_id_of(row.wrapped) == sealer.key_id:
                    continue
                context = _context(row.id, row.subject)
                opener = await self._cipher.opener(key_id_of(row.wrapped))
                wrapped = sealer.seal(opener.open(row.wrapped, context), context)
                changed += await self._rows.replace(row.id, row.wrapped, wrapped)
            after = page[-1].id
        return changed

    async def count(self) -> int:
        """Return how many data subjects have a key."""
        return await self._rows.count()

    async def _notice_erasures(self) -> None:
        now = self._monotonic()
        if now < self._fresh_until:
            return
        erasures = await self._rows.erasures()
        if erasures != self._erasures:
            self._forget()
            self._erasures = erasures
        self._fresh_until = now + self._forget_seconds

    def _forget(self) -> None:
        self._by_subject.clear()
        self._by_id.clear()
        self._epoch += 1
        self._fresh_until = 0.0

    async def _fresh(self, subject: str) -> WrappedKey:
        key = new_data_key()
        sealer = await self._cipher.sealer()
        return WrappedKey(key.id, subject, sealer.seal(key.secret, _context(key.id, subject)))

    async def _unwrap(self, rows: Sequence[WrappedKey], epoch: int) -> dict[str, DataKey]:
        keys = {}
        for row in rows:
            opener = await self._cipher.opener(key_id_of(row.wrapped))
            keys[row.subject] = DataKey(row.id, opener.open(row.wrapped, _context(row.id, row.subject)))
        # What was read before an erasure must not outlive it in the cache.
        if epoch == self._epoch:
            for subject, key in keys.items():
                self._by_subject[subject] = self._by_id[key.id] = key
            for cache in (self._by_subject, self._by_id):
                while len(cache) > _KEYS_KEPT:
                    cache.popitem(last=False)
        return keys


def _context(key_id: str, subject: str) -> bytes:
    return f"subject key\n{key_id}\n{subject}".encode()

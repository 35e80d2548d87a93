"""What event stores encrypt with: data keys of a provider, and the keys of data subjects."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import Opener, Sealer, key_id_of
from quantum_suite.services.encryption.data_cipher import DataCipher
from quantum_suite.services.encryption.interface import DataKey, KeyProvider, SubjectKeys

_CIPHERS_KEPT = 10_000


class KeyedEventCipher:
    """Seals payloads under the provider's newest key, and what is said of a person under that person's key.

    Keys erased elsewhere are forgotten within the bound that `SubjectKeys` gives: it is asked for every append of
    personal data and for every page that holds some.
    """

    def __init__(self, provider: KeyProvider, subjects: SubjectKeys) -> None:
        self._data = DataCipher(provider)
        self._subjects = subjects
        self._sealers: OrderedDict[str, Sealer] = OrderedDict()
        self._openers: OrderedDict[str, Opener] = OrderedDict()

    async def sealing(self, subjects: Collection[str]) -> "KeyedSeal":
        """Return the keys to append with."""
        data = await self._data.sealer()
        if not subjects:
            return KeyedSeal(data, {})
        keys = await self._subjects.obtain(list(subjects))
        return KeyedSeal(data, {subject: self._sealer(key) for subject, key in keys.items()})

    async def opening(self, sealed: Sequence[bytes], personal: Sequence[bytes]) -> "KeyedOpening":
        """Return the keys that these values name, as far as they still exist."""
        data = {key_id: await self._data.opener(key_id) for key_id in {key_id_of(value) for value in sealed}}
        if not personal:
            return KeyedOpening(data, {})
        wanted = {key_id_of(value) for value in personal}
        keys = await self._subjects.find(list(wanted))
        for gone in wanted - keys.keys():
            self._sealers.pop(gone, None)
            self._openers.pop(gone, None)
        return KeyedOpening(data, {key_id: self._opener(key) for key_id, key in keys.items()})

    async def erase(self, subject: str) -> bool:
        """Destroy the subject's key, and every cipher at hand."""
        erased = await self._subjects.erase(subject)
        self._sealers.clear()
        self._openers.clear()
        return erased

    def _sealer(self, key: DataKey) -> Sealer:
        found = self._sealers.get(key.id)
        if found is None:
            found = self._sealers[key.id] = Sealer(key)
            _bound(self._sealers)
        return found

    def _opener(self, key: DataKey) -> Opener:
        found = self._openers.get(key.id)
        if found is None:
            found = self._openers[key.id] = Opener(key)
            _bound(self._openers)
        return found


class KeyedSeal:
    """Keys at hand to encrypt with."""

    def __init__(self, data: Sealer, subjects: Mapping[str, Sealer]) -> None:
        self._subjects = subjects
        self.seal = data.seal
        """Encrypt a payload for its place. Bound straight to the cipher: it is the hottest call there is."""

    def seal_personal(self, subject: str, plain: bytes, place: bytes) -> bytes:
        """Encrypt what is said of a subject, bound to both the subject and the place."""
        return self._subjects[subject].seal(plain, _of(subject, place))


class KeyedOpening:
    """Keys at hand to decrypt with."""

    def __init__(self, data: Mapping[str, Opener], subjects: Mapping[str, Opener]) -> None:
        self._data = data
        self._subjects = subjects
        self._only = next(iter(data.values())) if len(data) == 1 else None

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypt a payload."""
        opener = self._only or self._data.get(key_id_of(sealed))
        if opener is None:
            raise Damaged("A payload names a key that was not asked for.", "Restore the event log from a backup.")
        return opener.open(sealed, place)

    def open_personal(self, subject: str, sealed: bytes, place: bytes) -> bytes | None:
        """Decrypt what is said of a subject; None when its key was erased."""
        opener = self._subjects.get(key_id_of(sealed))
        return None if opener is None else opener.open(sealed, _of(subject, place))


def _of(subject: str, place: bytes) -> bytes:
    return place + b"\n" + subject.encode()


def _bound(kept: OrderedDict[str, Sealer] | OrderedDict[str, Opener]) -> None:
    while len(kept) > _CIPHERS_KEPT:
        kept.popitem(last=False)

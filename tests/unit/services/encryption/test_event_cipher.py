"""What event stores encrypt with: bound to its place, rotated, erased, and usable while the provider is away."""

import pytest

from quantum_suite.core.errors import Damaged, Unavailable
from quantum_suite.services.encryption.cipher import key_id_of
from quantum_suite.services.encryption.data_cipher import DataCipher
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.memory import memory_subject_keys

pytestmark = pytest.mark.anyio


def a_cipher(provider: MemoryKeyProvider | None = None) -> KeyedEventCipher:
    provider = provider or MemoryKeyProvider()
    return KeyedEventCipher(provider, memory_subject_keys(provider))


async def test_payloads_open_at_their_place_alone() -> None:
    cipher = a_cipher()
    sealed = (await cipher.sealing([])).seal(b"payload", b"here")
    opening = await cipher.opening([sealed], [])
    assert opening.open(sealed, b"here") == b"payload"
    with pytest.raises(Damaged):
        opening.open(sealed, b"there")


async def test_personal_parts_open_for_their_subject_alone() -> None:
    cipher = a_cipher()
    seal = await cipher.sealing(["ann", "bob"])
    anns, bobs = seal.seal_personal("ann", b"about ann", b"here"), seal.seal_personal("bob", b"about bob", b"here")
    opening = await cipher.opening([], [anns, bobs])
    assert opening.open_personal("ann", anns, b"here") == b"about ann"
    assert opening.open_personal("bob", bobs, b"here") == b"about bob"
    with pytest.raises(Damaged):
        opening.open_personal("ann", bobs, b"here")


async def test_what_was_said_of_an_erased_subject_is_gone_and_the_rest_is_not() -> None:
    cipher = a_cipher()
    seal = await cipher.sealing(["ann", "bob"])
    payload = seal.seal(b"payload", b"here")
    anns, bobs = seal.seal_personal("ann", b"about ann", b"here"), seal.seal_personal("bob", b"about bob", b"here")
    assert await cipher.erase("ann")
    opening = await cipher.opening([payload], [anns, bobs])
    assert opening.open_personal("ann", anns, b"here") is None
    assert opening.open_personal("bob", bobs, b"here") == b"about bob"
    assert opening.open(payload, b"here") == b"payload"
    assert not await cipher.erase("ann")


async def test_a_page_may_hold_values_under_many_keys() -> None:
    provider = MemoryKeyProvider()
    sealed = []
    for _ in range(3):
        sealed.append((await a_cipher(provider).sealing([])).seal(b"payload", b"here"))
        await provider.rotate()
    assert len({key_id_of(value) for value in sealed}) == 3
    opening = await a_cipher(provider).opening(sealed, [])
    assert [opening.open(value, b"here") for value in sealed] == [b"payload"] * 3


class Outage(MemoryKeyProvider):
    """Keys that cannot be reached at times."""

    away = False

    async def current(self) -> DataKey:
        if self.away:
            raise Unavailable("The provider is away.")
        return await super().current()


async def test_a_rotation_elsewhere_is_noticed_in_time_and_an_outage_stops_nothing() -> None:
    provider, now = Outage(), [0.0]
    cipher = DataCipher(provider, refresh_seconds=30, monotonic=lambda: now[0])
    old = (await cipher.sealer()).key_id
    new = (await provider.rotate()).id
    assert (await cipher.sealer()).key_id == old
    provider.away, now[0] = True, 31
    assert (await cipher.sealer()).key_id == old
    with pytest.raises(Unavailable):
        await cipher.sealer(newest=True)
    provider.away, now[0] = False, 62
    assert (await cipher.sealer()).key_id == new


async def test_without_any_key_yet_an_outage_is_told() -> None:
    provider = Outage()
    provider.away = True
    with pytest.raises(Unavailable):
        await a_cipher(provider).sealing([])

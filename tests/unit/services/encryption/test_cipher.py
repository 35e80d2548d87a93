"""Sealed values: the published construction, bound to their context, refused when anything is changed."""

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import (
    OVERHEAD_BYTES,
    Opener,
    Sealer,
    derive_subkey,
    key_id_of,
    new_data_key,
)

KEY = new_data_key()


@pytest.mark.parametrize(
    ("secret", "context", "expected"),
    [
        (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (b"\x03" * 32, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
)
def test_the_construction_gives_the_published_vectors(secret: bytes, context: bytes, expected: str) -> None:
    # One key of each of the two has the highest bit set after the shift, so both branches are covered.
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    cipher = AESGCM(derive_subkey(secret, nonce[:12]))
    assert cipher.encrypt(nonce[12:], b"XAES-256-GCM", context).hex() == expected


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_sealed_opens_in_its_context(plain: bytes, context: bytes) -> None:
    sealed = Sealer(KEY).seal(plain, context)
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert key_id_of(sealed) == KEY.id
    assert Opener(KEY).open(sealed, context) == plain


def test_any_changed_byte_is_noticed() -> None:
    sealed = Sealer(KEY).seal(b"payload", b"context")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Damaged):
            Opener(KEY).open(bytes(changed), b"context")


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 20, 33, 48])
def test_a_value_cut_short_is_noticed(cut: int) -> None:
    sealed = Sealer(KEY).seal(b"payload", b"context")[:cut]
    with pytest.raises(Damaged):
        Opener(KEY).open(sealed, b"context")
    with pytest.raises(Damaged):
        key_id_of(sealed)


def test_another_context_or_key_does_not_open_it() -> None:
    sealed = Sealer(KEY).seal(b"payload", b"context")
    with pytest.raises(Damaged):
        Opener(KEY).open(sealed, b"another")
    with pytest.raises(Damaged):
        Opener(new_data_key()).open(sealed, b"context")


def test_plain_text_is_never_taken_for_a_sealed_value() -> None:
    with pytest.raises(Damaged, match="format"):
        key_id_of(b'{"a": 1, "b": "' + b"x" * 100 + b'"}')


def test_nonces_do_not_repeat_and_subkeys_are_renewed_before_their_bound() -> None:
    sealer = Sealer(KEY, seals_per_subkey=10)
    sealed = [sealer.seal(b"", b"") for _ in range(95)]
    assert len({value[9:33] for value in sealed}) == 95
    halves = [value[9:21] for value in sealed]
    assert len(set(halves)) == 10
    assert max(halves.count(half) for half in set(halves)) <= 10
    opener = Opener(KEY)
    assert all(opener.open(value, b"") == b"" for value in sealed)


FORKING = """
import os
from quantum_suite.services.encryption.cipher import Sealer, new_data_key

sealer = Sealer(new_data_key())
sealer.seal(b"", b"")
child = os.fork()
os.write(1, sealer.seal(b"", b"")[9:21].hex().encode() + b" ")
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_child_seals_under_a_subkey_of_its_own() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)
    mine, childs = ran.stdout.split()
    assert mine != childs

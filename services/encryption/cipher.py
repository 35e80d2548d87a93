"""Authenticated encryption of small values: XAES-256-GCM (https://c2sp.org/XAES-256-GCM) in a versioned frame.

    format (1 byte, 0x01) | key id (8 bytes) | nonce (24 bytes) | ciphertext and tag

AES-256-GCM with random 96-bit nonces is good for 2^32 values under one key (NIST SP 800-38D, 8.3), which a store
of 40,000 events a second has used up in 30 hours. XAES derives a subkey from the first half of a nonce twice as
long and runs AES-256-GCM under it with the second half: 2^80 values under one key, so no key is ever worn out and
nobody has to count across processes. A `Sealer` keeps one subkey and draws the second half afresh for every value,
which costs what plain AES-GCM costs; it takes a new subkey long before the old one's bound.
"""

import os
import threading
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.interface import DataKey

FORMAT = b"\x01"
KEY_ID_BYTES = 8
OVERHEAD_BYTES = 1 + KEY_ID_BYTES + 24 + 16
"""How much longer a sealed value is than the plain one."""

SEALS_PER_SUBKEY = 2**31
"""Half of what SP 800-38D allows a key with random nonces, so that threads counting at once stay below it."""

_HALF = 12
_BODY = 1 + KEY_ID_BYTES + 2 * _HALF
_SUBKEYS_KEPT = 1024


def new_data_key() -> DataKey:
    """Return a fresh key under a fresh name."""
    return DataKey(os.urandom(KEY_ID_BYTES).hex(), os.urandom(32))


def derive_subkey(secret: bytes, half: bytes) -> bytes:
    """Return the AES-256 key for nonces that begin with the 12 bytes `half`, as XAES-256-GCM lays down."""
    # ECB of single blocks is how the specification spells CMAC (SP 800-108 with SP 800-38B): no message is in it.
    block = Cipher(algorithms.AES256(secret), modes.ECB()).encryptor()  # noqa: S305  # see the line above
    first = int.from_bytes(block.update(bytes(16)), "big")
    mask = ((first << 1) & (2**128 - 1)) ^ (0x87 if first >> 127 else 0)
    parts = (b"\x00" + bytes([counter]) + b"X\x00" + half for counter in (1, 2))
    return b"".join(block.update((int.from_bytes(part, "big") ^ mask).to_bytes(16, "big")) for part in parts)


class Sealer:
    """Seals values under one key. Safe across threads; a copy in a forked child draws a subkey of its own."""

    def __init__(self, key: DataKey, *, seals_per_subkey: int = SEALS_PER_SUBKEY) -> None:
        self.key_id = key.id
        self._secret = key.secret
        self._seals_per_subkey = seals_per_subkey
        self._renew()

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt `plain`; it opens only with the same `context`, which is not stored in the result."""
        if self._left <= 0 or self._owner != os.getpid():
            self._renew()
        self._left -= 1
        cipher, prefix = self._subkey
        nonce = os.urandom(_HALF)
        return prefix + nonce + cipher.encrypt(nonce, plain, context)

    def _renew(self) -> None:
        half = os.urandom(_HALF)
        prefix = FORMAT + bytes.fromhex(self.key_id) + half
        self._subkey = (AESGCM(derive_subkey(self._secret, half)), prefix)
        self._left = self._seals_per_subkey
        self._owner = os.getpid()


class Opener:
    """Opens values sealed under one key. Keeps the subkeys it met last. Safe across threads."""

    def __init__(self, key: DataKey) -> None:
        self.key_id = key.id
        self._secret = key.secret
        self._prefix = FORMAT + bytes.fromhex(key.id)
        self._subkeys: OrderedDict[bytes, AESGCM] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt; raises Damaged when the value, its context or its key is not the one it was sealed with."""
        half = sealed[1 + KEY_ID_BYTES : 1 + KEY_ID_BYTES + _HALF]
        cipher = self._subkeys.get(half)
        if cipher is None:
            cipher = self._derive(half)
        try:
            if not sealed.startswith(self._prefix):
                raise InvalidTag
            return cipher.decrypt(sealed[_BODY - _HALF : _BODY], sealed[_BODY:], context)
        except (InvalidTag, ValueError) as error:
            raise Damaged(
                f"A value sealed under key {self.key_id} does not open: it was altered, or belongs elsewhere.",
                "Restore it from a backup; `quantum audit verify` says which event it is.",
            ) from error

    def _derive(self, half: bytes) -> AESGCM:
        cipher = AESGCM(derive_subkey(self._secret, half.ljust(_HALF, b"\x00")))
        with self._lock:
            self._subkeys[half] = cipher
            if len(self._subkeys) > _SUBKEYS_KEPT:
                self._subkeys.popitem(last=False)
        return cipher


def key_id_of(sealed: bytes) -> str:
    """Return the name of the key a value is sealed under; raises Damaged when it is no sealed value."""
    if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(FORMAT):
        raise Damaged(
            "A stored value is not in the format of sealed values this release knows.",
            "Update the suite when a newer release wrote it; otherwise restore it from a backup.",
        )
    return sealed[1 : 1 + KEY_ID_BYTES].hex()

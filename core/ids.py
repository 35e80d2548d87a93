"""Identifiers: unguessable, and sorted by the time they were made."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u


def _base32(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(digits))


def new_id(prefix: str) -> str:
    """Return `<prefix>_<26 characters>`: 48 bits of milliseconds, then 80 random bits (the ULID layout)."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{prefix}_{_base32((milliseconds << 80) | secrets.randbits(80), 26)}"

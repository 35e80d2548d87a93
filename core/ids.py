"""Identifiers: unguessable, and sorted by the time they were made."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))  # 128 bits as 13 pairs of digits: every event has an id, so its cost counts


def new_id(prefix: str) -> str:
    """Return `<prefix>_<26 characters>`: 48 bits of milliseconds, then 80 random bits (the ULID layout)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | secrets.randbits(80)
    return f"{prefix}_{''.join([_PAIRS[(value >> shift) & 1023] for shift in _SHIFTS])}"

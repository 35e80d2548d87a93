"""API keys: what they are made of, and the port to where they are kept.

A key reads `qs_<id>_<secret>`. The id is public and finds the row; the secret is 32 random bytes. What is kept is
the SHA-256 of the whole token. A slow, salted password hash would add nothing: those make guessable secrets
expensive to guess, and 256 random bits are not guessable at any price, so that neither a dictionary nor a table of
precomputed hashes exists. A fast hash keeps checking a key cheap, also for whoever floods the hub with wrong ones.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal, Role

# core/masking.py masks this shape wherever text leaves: keep the two in step.
_TOKEN = re.compile(r"qs_([0-9a-z]{12})_[A-Za-z0-9_\-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key; neither the key nor its hash. Times are aware, UTC."""

    id: str
    name: str
    roles: frozenset[Role]
    workspaces: tuple[str, ...] | None
    """Real directories its holder may have tools look at; None for the suite's default."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """Kept to the minute, roughly."""

    @property
    def principal(self) -> Principal:
        """Who the holder of this key is."""
        return Principal(id=f"key:{self.name}", roles=self.roles, workspaces=self.workspaces)

    def expired(self, now: datetime) -> bool:
        """Whether the key's time was over at `now`."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def active(self) -> bool:
        """Whether the key opens anything at this moment: neither revoked nor expired."""
        return self.revoked_at is None and not self.expired(datetime.now(UTC))


class KeyStore(Protocol):
    """Where keys are kept.

    Names are unique among keys that are not revoked, so that a name says who called. Nothing is ever forgotten:
    a revoked key stays listed. Safe for use by several threads, and by several processes where the store outlives
    one. Methods may take some milliseconds; they raise `Unavailable` when the store is out of reach.
    """

    @property
    def generation(self) -> int:
        """A number that grows when a key is created or revoked through this object."""
        ...

    def create(
        self,
        name: str,
        roles: Iterable[Role | str],
        *,
        workspaces: Iterable[str | Path] | None = None,
        expires_in_seconds: float | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key and return it with its token, which is not kept and cannot be shown again.

        Raises CallerError naming the argument that is wrong, also when `name` is in use.
        """
        ...

    def list(self) -> list[KeyRecord]:
        """Return all keys, the oldest first, revoked and expired ones included."""
        ...

    def revoke(self, name_or_id: str) -> KeyRecord:
        """End a key by its id, or by the name of one not revoked yet; raises NotFound when there is none.

        Revoking a revoked key by its id changes nothing.
        """
        ...

    def find(self, token: str) -> KeyRecord | None:
        """Return the key that `token` is, or None. The key may be revoked or expired: the caller looks."""
        ...

    def touch(self, key_id: str, used_at: datetime) -> None:
        """Note that a key was used."""
        ...

    def close(self) -> None:
        """Release the store. Idempotent."""
        ...


def new_key(
    name: str,
    roles: Iterable[Role | str],
    workspaces: Iterable[str | Path] | None,
    expires_in_seconds: float | None,
    now: datetime,
) -> tuple[KeyRecord, str]:
    """Make a key and its token; raises CallerError naming the argument that is wrong."""
    if not _NAME.fullmatch(name):
        raise CallerError(
            f"'{name[:80]}' cannot name a key.",
            "Use 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first.",
            argument="name",
        )
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))
    record = KeyRecord(
        id=key_id,
        name=name,
        roles=_parse_roles(roles),
        workspaces=None if workspaces is None else _real_directories(workspaces),
        created_at=now,
        expires_at=_expiry(expires_in_seconds, now),
    )
    return record, f"qs_{key_id}_{secrets.token_urlsafe(32)}"


def name_in_use(name: str) -> CallerError:
    """The error of `create` for a name that is taken."""
    return CallerError(
        f"There is a key '{name}' already.", "Revoke it first, or choose another name.", argument="name"
    )


def key_id_of(token: str) -> str | None:
    """Return the public id in a token; None when it does not have the shape of a key."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def token_hash(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def same_hash(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


def _parse_roles(roles: Iterable[Role | str]) -> frozenset[Role]:
    known = ", ".join(role.value for role in Role)
    try:
        parsed = frozenset(Role(role) for role in roles)
    except ValueError as error:
        raise CallerError(f"{error}.", f"The roles are {known}.", argument="roles") from error
    if not parsed:
        raise CallerError("A key without a role may do nothing.", f"Give one of {known}.", argument="roles")
    return parsed


def _real_directories(workspaces: Iterable[str | Path]) -> tuple[str, ...]:
    paths = [Path(workspace).expanduser().resolve() for workspace in workspaces]
    for path in paths:
        if not path.is_dir():
            raise CallerError(f"'{path}' is no directory.", "Name directories there are.", argument="workspaces")
    return tuple(str(path) for path in paths)


def _expiry(seconds: float | None, now: datetime) -> datetime | None:
    if seconds is None:
        return None
    try:
        if seconds > 0:
            return (now + timedelta(seconds=seconds)).astimezone(UTC)
    except OverflowError:
        pass
    raise CallerError(
        f"A key cannot expire in {seconds} seconds.",
        "Give a number of seconds above zero, or none for a key that stays.",
        argument="expires_in_seconds",
    )

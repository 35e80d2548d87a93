"""Signed checkpoints: what the chain was at a number, by a key that whoever alters it does not have."""

import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.audit.chain.records import ChainHead
from quantum_suite.services.encryption.interface import DataKey, KeyProvider

NOTHING_BEFORE = "0" * 64
_TITLE = "quantum-suite audit checkpoint v1"
_SIGNING = b"quantum-suite audit checkpoints, Ed25519, v1"

PublicKeys = Mapping[str, Ed25519PublicKey]
"""Whose signatures count, by key id."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement about the chain. Binary values are hex."""

    number: int
    position: str
    """Of the event of record `number`."""
    hash: str
    """Of record `number`."""
    time: str
    """When it was signed: RFC 3339, UTC."""
    key_id: str
    previous: str
    """SHA-256 of the checkpoint before, signature included, so that none can be taken out of the middle."""
    signature: str
    """Ed25519 (RFC 8032) over the fields above."""

    def signed_text(self) -> bytes:
        """Return what the signature is over: a title, then one field a line."""
        values = (self.number, self.position, self.hash, self.time, self.key_id, self.previous)
        return "\n".join((_TITLE, *map(str, values), "")).encode(errors="surrogatepass")

    def fingerprint(self) -> str:
        """Return what the next checkpoint names it by."""
        return hashlib.sha256(self.signed_text() + self.signature.encode(errors="surrogatepass")).hexdigest()

    def to_json(self) -> bytes:
        """Return it as one line of JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)


_FIELDS = {field.name for field in fields(Checkpoint)}


def signing_key(key: DataKey) -> Ed25519PrivateKey:
    """Return the signing key that belongs to a data key: derived from it, of use for nothing else."""
    return Ed25519PrivateKey.from_private_bytes(HKDF(SHA256(), 32, None, _SIGNING).derive(key.secret))


def sign_checkpoint(head: ChainHead, previous: Checkpoint | None, key: DataKey) -> Checkpoint:
    """Sign what the chain is at `head`, which is not its beginning."""
    assert head.position is not None
    unsigned = Checkpoint(
        head.number,
        head.position,
        head.hash.hex(),
        datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        key.id,
        previous.fingerprint() if previous is not None else NOTHING_BEFORE,
        "",
    )
    signature = signing_key(key).sign(unsigned.signed_text()).hex()
    return Checkpoint(**{**asdict(unsigned), "signature": signature})


def is_signed(checkpoint: Checkpoint, keys: PublicKeys) -> bool:
    """Whether a checkpoint carries a signature of one of these keys."""
    key = keys.get(checkpoint.key_id)
    if key is None:
        return False
    try:
        key.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed_text())
    except (InvalidSignature, ValueError):
        return False
    return True


async def public_keys(provider: KeyProvider) -> dict[str, Ed25519PublicKey]:
    """Return the public halves of every signing key of a provider, oldest first."""
    return {key_id: signing_key(await provider.get(key_id)).public_key() for key_id in await provider.ids()}


class CheckpointFile:
    """Checkpoints once more, in an append-only file beside the database.

    A chain whose end was cut off, checkpoints included, is shorter than this file says. A copy of the file that is
    kept on another machine shows the same to whoever does not trust this one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, checkpoints: list[Checkpoint]) -> None:
        """Add checkpoints; they are on the disk when this returns. Raises Unavailable."""
        try:
            with self._lock:
                self._append(b"".join(checkpoint.to_json() for checkpoint in checkpoints))
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}.", "Free the disk.") from error

    def read(self) -> tuple[list[Checkpoint], list[int]] | None:
        """Return the checkpoints in order and the numbers of lines that are none; None where there is no file.

        A last line without an end was cut short by a crash and is passed over. Raises Unavailable.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}.", "Mend the disk.") from error
        checkpoints, bad = [], []
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            checkpoint = load_checkpoint(line)
            if checkpoint is not None:
                checkpoints.append(checkpoint)
            elif line.strip():
                bad.append(number)
        return checkpoints, bad

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.ftruncate(descriptor, _whole_bytes(descriptor, size))
            if os.write(descriptor, lines) != len(lines):
                raise OSError(0, "the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load_checkpoint(line: bytes | str) -> Checkpoint | None:
    """Read a checkpoint from JSON; None when it is none."""
    try:
        value = orjson.loads(line)
        if value.keys() != _FIELDS or not isinstance(value["number"], int):
            return None
        return Checkpoint(**value) if all(isinstance(v, str | int) for v in value.values()) else None
    except (ValueError, AttributeError, TypeError):
        return None


def _whole_bytes(descriptor: int, size: int) -> int:
    """Return how much of the file is whole lines: what a crash tore is taken off before more is added."""
    tail = os.pread(descriptor, min(size, 65536), max(size - 65536, 0))
    return size - len(tail) + tail.rfind(b"\n") + 1

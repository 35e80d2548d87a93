"""Keys kept as one small JSON document that is read and replaced as a whole: what every key provider shares."""

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson

from quantum_suite.core.errors import Damaged, Unavailable
from quantum_suite.services.encryption.cipher import KEY_ID_BYTES, new_data_key
from quantum_suite.services.encryption.interface import DataKey

FORMAT = "quantum-suite-keys/1"
_ID = re.compile(rf"[0-9a-f]{{{2 * KEY_ID_BYTES}}}")
_TRIES = 20


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """Every key there is, oldest first. Keys are added and never removed: old data needs them."""

    keys: tuple[DataKey, ...] = ()
    made_at: tuple[str, ...] = ()

    def with_new_key(self) -> "KeyDocument":
        """Return the document with a fresh key at its end."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(self, keys=(*self.keys, new_data_key()), made_at=(*self.made_at, now))

    def dump(self) -> str:
        """Return the document as JSON."""
        listed = [
            {"id": key.id, "made_at": made_at, "secret": base64.b64encode(key.secret).decode()}
            for key, made_at in zip(self.keys, self.made_at, strict=True)
        ]
        return orjson.dumps({"format": FORMAT, "keys": listed}, option=orjson.OPT_INDENT_2).decode() + "\n"


def load_document(text: str | bytes, where: str) -> KeyDocument:
    """Read a document; raises Damaged, naming `where` it lies but nothing of what it says."""
    try:
        value = orjson.loads(text)
        if value["format"] != FORMAT:
            raise ValueError("format")
        keys = tuple(DataKey(key["id"], base64.b64decode(key["secret"], validate=True)) for key in value["keys"])
        made_at = tuple(str(key["made_at"]) for key in value["keys"])
        if not keys or len({key.id for key in keys}) != len(keys):
            raise ValueError("keys")
        if any(len(key.secret) != 32 or _ID.fullmatch(key.id) is None for key in keys):
            raise ValueError("key")
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise Damaged(
            f"{where} holds no keys in the format {FORMAT}.", "Restore it from a backup: without it data is lost."
        ) from error
    return KeyDocument(keys, made_at)


class DocumentKeyProvider(ABC):
    """A key provider over a document that can be read, and replaced if it has not changed meanwhile."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._known: dict[str, DataKey] = {}

    @abstractmethod
    async def _read(self) -> tuple[KeyDocument | None, int | str]:
        """Return the document, None where there is none, and a token that changes whenever it does."""

    @abstractmethod
    async def _replace(self, document: KeyDocument, token: int | str) -> bool:
        """Keep `document` durably, unless what is there no longer has `token`: then return False."""

    async def current(self) -> DataKey:
        """Return the newest key; makes the first one where there is none."""
        document, token = await self._read()
        if document is None:
            return await self._add(None, token, only_first=True)
        return self._note(document).keys[-1]

    async def get(self, key_id: str) -> DataKey:
        """Return a key by its name; what was once read is not asked for again."""
        if key_id not in self._known:
            document, _ = await self._read()
            if document is not None:
                self._note(document)
        if key_id not in self._known:
            raise Damaged(
                f"{self.where} has no key {key_id}, and data is encrypted under it.",
                "Restore the keys that belong to this data from a backup.",
            )
        return self._known[key_id]

    async def rotate(self) -> DataKey:
        """Make a new key."""
        return await self._add(*await self._read())

    async def ids(self) -> Sequence[str]:
        """Return the names of the keys there are, oldest first."""
        document, _ = await self._read()
        return [key.id for key in document.keys] if document is not None else []

    async def _add(self, document: KeyDocument | None, token: int | str, *, only_first: bool = False) -> DataKey:
        for _ in range(_TRIES):
            longer = (document or KeyDocument()).with_new_key()
            if await self._replace(longer, token):
                return self._note(longer).keys[-1]
            document, token = await self._read()
            if only_first and document is not None:
                return self._note(document).keys[-1]  # somebody else made the first one: it is everybody's
        raise Unavailable(f"{self.where} is changed by others again and again.", "Try again.")

    def _note(self, document: KeyDocument) -> KeyDocument:
        self._known.update((key.id, key) for key in document.keys)
        return document

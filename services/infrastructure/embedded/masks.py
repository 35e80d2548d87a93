"""What must not be read in anything that is said: the values that turned out to be secret in a run."""

from collections.abc import Iterable, Mapping
from typing import Any

from quantum_suite.core.masking import mask_text
from quantum_suite.services.infrastructure.plan import SECRET, UNKNOWN
from quantum_suite.services.infrastructure.values import secrets_of, shown

_SHORTEST = 4
"""Shorter ones are in every text; whoever keeps such a secret is not helped by masks."""


class Masks:
    """Learns secrets, and replaces them in texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.learn_texts(secrets)

    def learn_texts(self, secrets: Iterable[str]) -> None:
        """Take texts that are secret."""
        for text in secrets:
            self._secrets.update(part for part in (text, *text.splitlines()) if len(part) >= _SHORTEST)

    def learn(self, value: Any) -> None:
        """Take every secret that is marked in a property value."""
        self.learn_texts(secrets_of(value))

    def shown(self, value: Any) -> Any:
        """Return a property value as a person may see it: what is marked, and what is secret elsewhere, masked."""
        return self._deeply(shown(value, SECRET, UNKNOWN))

    def _deeply(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.masked(value)
        if isinstance(value, Mapping):
            return {key: self._deeply(item) for key, item in value.items()}
        return [self._deeply(item) for item in value] if isinstance(value, list) else value

    def masked(self, text: str) -> str:
        """Return the text without the secrets, and without what looks like a credential."""
        for found in sorted(self._secrets, key=len, reverse=True):
            if found in text:
                text = text.replace(found, SECRET)
        return mask_text(text)

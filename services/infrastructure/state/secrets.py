"""Secrets in states: sealed by the suite's own cipher (AES-256-GCM) in Pulumi's form for encrypted values."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import Opener, Sealer, key_id_of
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.infrastructure.interface import Deployment, PendingOperation, ResourceState
from quantum_suite.services.infrastructure.values import SECRET_SIGNATURE, SIGNATURE_KEY, mapped_secrets


class StateSecrets:
    """Seals what is secret in one stack's state, under the newest key, and opens it under any it was given.

    A sealed value opens in its own stack only.
    """

    def __init__(self, keys: Sequence[DataKey], stack: str) -> None:
        """Take the keys, the newest last."""
        self._sealer = Sealer(keys[-1])
        self._openers = {key.id: Opener(key) for key in keys}
        self._context = f"infrastructure/{stack}".encode()
        # A value that stays the same keeps its ciphertext, so that a state without changes stays the same.
        self._sealed: dict[str, str] = {}

    def seal(self, value: Any) -> Any:
        """Return a value with its secrets sealed."""
        return mapped_secrets(value, self._seal_one)

    def open(self, value: Any) -> Any:
        """Return a value with its secrets open; raises Damaged."""
        return mapped_secrets(value, self._open_one)

    def sealed(self, resource: ResourceState) -> ResourceState:
        """Return a resource with its secrets sealed."""
        return replace(resource, inputs=self.seal(resource.inputs), outputs=self.seal(resource.outputs))

    def opened(self, deployment: Deployment) -> Deployment:
        """Return a deployment with its secrets open."""
        return replace(
            deployment,
            resources=tuple(self._opened(resource) for resource in deployment.resources),
            pending=tuple(
                PendingOperation(operation.type, self._opened(operation.resource))
                for operation in deployment.pending
            ),
        )

    def _opened(self, resource: ResourceState) -> ResourceState:
        return replace(resource, inputs=self.open(resource.inputs), outputs=self.open(resource.outputs))

    def _seal_one(self, value: dict[str, Any]) -> dict[str, Any]:
        if "ciphertext" in value:
            return value
        text = json.dumps(value.get("value"), sort_keys=True)
        sealed = self._sealed.get(text)
        if sealed is None:
            sealed = base64.b64encode(self._sealer.seal(text.encode(), self._context)).decode()
            self._sealed[text] = sealed
        return {SIGNATURE_KEY: SECRET_SIGNATURE, "ciphertext": sealed}

    def _open_one(self, value: dict[str, Any]) -> dict[str, Any]:
        if "plaintext" in value:
            return {SIGNATURE_KEY: SECRET_SIGNATURE, "value": json.loads(value["plaintext"])}
        if "ciphertext" not in value:
            return value
        try:
            sealed = base64.b64decode(value["ciphertext"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise Damaged("A secret in the state is not in this suite's form.", _FOREIGN) from error
        opener = self._openers.get(key_id_of(sealed))
        if opener is None:
            raise Damaged(
                f"A secret in the state is sealed under key {key_id_of(sealed)}, which is gone.", _FOREIGN
            )
        text = opener.open(sealed, self._context).decode()
        self._sealed.setdefault(text, value["ciphertext"])
        return {SIGNATURE_KEY: SECRET_SIGNATURE, "value": json.loads(text)}


_FOREIGN = (
    "A state that another engine sealed is taken over by exporting it with its secrets in plain text "
    "(`pulumi stack export --show-secrets`)."
)

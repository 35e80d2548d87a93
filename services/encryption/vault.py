"""Keys in HashiCorp Vault or OpenBao: one secret of a KV version 2 engine, over HTTP.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx2

from quantum_suite.core.errors import ConfigurationError, Damaged, Unavailable
from quantum_suite.services.encryption.documents import DocumentKeyProvider, KeyDocument, load_document

TIMEOUT_SECONDS = 10.0
FIELD = "keys"
"""The field of the secret that holds the key document."""

_CHECK_AND_SET_FAILED = "check-and-set"


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where the secret lies."""

    origin: str
    mount: str
    path: str


class VaultKeyProvider(DocumentKeyProvider):
    """Keeps the keys in a secret's field `keys`; writes are check-and-set, so that nobody's key is overwritten.

    The token needs `read`, `create` and `update` on `<mount>/data/<path>`. It is read anew for every request, so
    that an agent may renew it in its file.
    """

    def __init__(self, client: httpx2.AsyncClient, address: VaultAddress, environ: Mapping[str, str]) -> None:
        super().__init__(f"Vault at {address.origin} ({address.mount}/{address.path})")
        self._client = client
        self._url = f"{address.origin}/v1/{quote(address.mount)}/data/{quote(address.path)}"
        self._environ = environ

    async def _read(self) -> tuple[KeyDocument | None, int | str]:
        reply = await self._request("GET", None)
        body = _body(reply)
        if reply.status_code == 404:
            # A deleted version answers 404 as well, with its metadata: writing on needs its number.
            return None, _version(body)
        self._require_success(reply, body)
        try:
            text = body["data"]["data"][FIELD]
        except (KeyError, TypeError) as error:
            raise Damaged(f"{self.where} has no field '{FIELD}'.", "Name a secret of the suite's own.") from error
        return load_document(text, self.where), _version(body)

    async def _replace(self, document: KeyDocument, token: int | str) -> bool:
        reply = await self._request("POST", {"options": {"cas": token}, "data": {FIELD: document.dump()}})
        body = _body(reply)
        if reply.status_code == 400 and _CHECK_AND_SET_FAILED in _errors(body):
            return False
        self._require_success(reply, body)
        return True

    async def _request(self, method: str, content: dict[str, Any] | None) -> httpx2.Response:
        headers = {"X-Vault-Token": await self._token(), "X-Vault-Request": "true"}
        if namespace := self._environ.get("VAULT_NAMESPACE"):
            headers["X-Vault-Namespace"] = namespace
        try:
            return await self._client.request(method, self._url, headers=headers, json=content)
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"{self.where} does not answer: {str(error) or type(error).__name__}.", "Start or unseal it."
            ) from error

    async def _token(self) -> str:
        if token := self._environ.get("VAULT_TOKEN"):
            return token.strip()
        named = self._environ.get("VAULT_TOKEN_FILE")
        path = anyio.Path(named) if named else anyio.Path(self._environ.get("HOME", "/")) / ".vault-token"
        try:
            token = (await path.read_text()).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"There is no token for {self.where}: {path} cannot be read.",
                "Set VAULT_TOKEN, or name a file with it in VAULT_TOKEN_FILE.",
            ) from error
        if not token or not token.isascii() or not token.isprintable():
            raise ConfigurationError(f"{path} holds no Vault token.", "Log in again: vault login.")
        return token

    def _require_success(self, reply: httpx2.Response, body: Any) -> None:
        status, told = reply.status_code, _errors(body)
        if status == 200:
            return
        if status == 403:
            raise ConfigurationError(
                f"{self.where} refuses the token: {told or 'permission denied'}.",
                "Give it read, create and update on the secret, or renew it.",
            )
        if status == 400 or status == 404:
            raise ConfigurationError(
                f"{self.where} refuses the request: {told or status}.", "Check mount and path."
            )
        raise Unavailable(f"{self.where} answers {status}: {told or 'nothing more'}.", "Start or unseal it.")


@asynccontextmanager
async def open_vault(
    address: VaultAddress, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[VaultKeyProvider]:
    """Open a provider on the secret at `address`; nothing is sent yet.

    From the environment: VAULT_TOKEN, else the file VAULT_TOKEN_FILE, else `~/.vault-token`; VAULT_CACERT;
    VAULT_NAMESPACE.
    """
    verify: ssl.SSLContext | bool = True
    if bundle := environ.get("VAULT_CACERT"):
        try:
            verify = ssl.create_default_context(cafile=str(Path(bundle)))
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"VAULT_CACERT: {bundle} is no certificate bundle.", "Name a PEM file."
            ) from error
    async with httpx2.AsyncClient(verify=verify, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        yield VaultKeyProvider(client, address, environ)


def _body(reply: httpx2.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        return None


def _errors(body: Any) -> str:
    told = body.get("errors") if isinstance(body, dict) else None
    return "; ".join(str(one) for one in told)[:300] if isinstance(told, list) else ""


def _version(body: Any) -> int:
    try:
        return int(body["data"]["metadata"]["version"])
    except (KeyError, TypeError, ValueError):
        return 0

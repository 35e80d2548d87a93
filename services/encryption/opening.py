"""Key providers by URL."""

import ipaddress
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import platformdirs

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.os_keyring import KeyringKeyProvider
from quantum_suite.services.encryption.vault import VaultAddress, open_vault

FORMS = "Write file:///path, keyring://service, vault+https://host:port/mount/path or memory://."


@asynccontextmanager
async def open_key_provider(url: str, environ: Mapping[str, str] = os.environ) -> AsyncIterator[KeyProvider]:
    """Open the key provider at `url`.

    `file:///path`: a file. `keyring://service`: the system's keyring. `vault+https://host:port/mount/path`: Vault
    or OpenBao (`vault+http` on loopback alone). `memory://`: keys that end with the process. Raises
    ConfigurationError for any other URL; a provider that is away shows when it is first asked.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # looked at for its ValueError
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    if parts.username is not None or parts.password is not None:
        raise _wrong(parts.scheme + "://...", "it holds a user or password")
    if parts.query or parts.fragment:
        raise _wrong(url, "it has a query or fragment")
    if parts.scheme == "file":
        yield FileKeyProvider(_file(parts, url))
    elif parts.scheme == "keyring":
        if not parts.netloc or parts.path.strip("/"):
            raise _wrong(url, "it names no service")
        yield KeyringKeyProvider(unquote(parts.netloc), Path(platformdirs.user_state_dir("quantum-suite", False)))
    elif parts.scheme in ("vault+https", "vault+http"):
        async with open_vault(_vault(parts, url), environ) as provider:
            yield provider
    elif parts.scheme == "memory":
        yield MemoryKeyProvider()
    else:
        raise _wrong(url, "its scheme is none of those known")


def _file(parts: SplitResult, url: str) -> Path:
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or path == Path("/"):
        raise _wrong(url, "it is no absolute path")
    return path


def _vault(parts: SplitResult, url: str) -> VaultAddress:
    mount, _, path = unquote(parts.path).strip("/").partition("/")
    segments = [mount, *path.split("/")]
    if not parts.hostname or not all(segments) or any(part in (".", "..") for part in segments):
        raise _wrong(url, "it names no host, mount and path")
    if parts.scheme == "vault+http" and not _is_loopback(parts.hostname):
        raise _wrong(url, "keys would cross the network in clear text")
    return VaultAddress(f"{parts.scheme.removeprefix('vault+')}://{parts.netloc}", mount, path)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"'{url}' is no key provider: {why}.", FORMS)

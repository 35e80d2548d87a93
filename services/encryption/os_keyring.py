"""Keys in the keyring of the operating system: Secret Service, KWallet, macOS Keychain."""

import hashlib
from pathlib import Path
from types import ModuleType

import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, EngineMissing, Unavailable
from quantum_suite.services.encryption.documents import DocumentKeyProvider, KeyDocument, load_document
from quantum_suite.services.encryption.file import exclusive

USER = "quantum-suite-keys"
"""The user name the keys are filed under, within the service that is named."""

INSTALL = 'pip install "quantum-suite[keyring]"'


class KeyringKeyProvider(DocumentKeyProvider):
    """Keeps the keys as one secret of the service `service`.

    A keyring has no compare-and-set: processes of one machine agree through a lock file in `lock_directory`, and
    what was written is read back. Raises EngineMissing where the package is not installed, and ConfigurationError
    where no keyring answers (a server without a session, most containers).
    """

    def __init__(self, service: str, lock_directory: Path) -> None:
        super().__init__(f"The keyring (service {service})")
        self._service = service
        self._lock = lock_directory / f"keyring-{hashlib.sha256(service.encode()).hexdigest()[:16]}.lock"

    async def _read(self) -> tuple[KeyDocument | None, int | str]:
        return await anyio.to_thread.run_sync(self._read_now)

    async def _replace(self, document: KeyDocument, token: int | str) -> bool:
        return await anyio.to_thread.run_sync(self._replace_now, document, token)

    def _read_now(self) -> tuple[KeyDocument | None, int | str]:
        text = self._ask()
        return (None, "") if text is None else (load_document(text, self.where), text)

    def _replace_now(self, document: KeyDocument, token: int | str) -> bool:
        self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive(self._lock):
            if (self._ask() or "") != token:
                return False
            text = document.dump()
            self._tell(text)
            if self._ask() != text:
                raise Unavailable(f"{self.where} did not keep what it was given.", "Unlock or mend the keyring.")
            return True

    def _ask(self) -> str | None:
        keyring = _package()
        try:
            found = keyring.get_password(self._service, USER)
        except keyring.errors.KeyringError as error:
            raise self._unusable(error) from error
        return None if found is None else str(found)

    def _tell(self, text: str) -> None:
        keyring = _package()
        try:
            keyring.set_password(self._service, USER, text)
        except keyring.errors.KeyringError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> ConfigurationError:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        return ConfigurationError(
            f"{self.where} cannot be used: {reason}.",
            "Unlock it, or keep the keys elsewhere: file:///path or vault+https://host/mount/path.",
        )


def _package() -> ModuleType:
    try:
        # Optional, and slow to import: it looks for every desktop's services.
        import keyring
        import keyring.errors
    except ImportError as error:
        raise EngineMissing("Keys in the system's keyring need a package.", INSTALL, engine="keyring") from error
    return keyring

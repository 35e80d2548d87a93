"""Keys that die with the process: tests, and one-off runs."""

from quantum_suite.services.encryption.documents import DocumentKeyProvider, KeyDocument


class MemoryKeyProvider(DocumentKeyProvider):
    """Keeps the keys of this process."""

    def __init__(self) -> None:
        super().__init__("This process")
        self._document: KeyDocument | None = None
        self._version = 0

    async def _read(self) -> tuple[KeyDocument | None, int | str]:
        return self._document, self._version

    async def _replace(self, document: KeyDocument, token: int | str) -> bool:
        if token != self._version:
            return False
        self._document, self._version = document, self._version + 1
        return True

"""One file a record, `<folder>/<prefix>_<26 characters>.json`: what is kept once, under an id, and read by it."""

import re
from pathlib import Path

from quantum_suite.services.records.durable_files import replace_durably


class FileRecords:
    """Keeps the newest `keep` records of a folder. Blocks: call it from a worker thread."""

    def __init__(self, folder: Path, prefix: str, keep: int) -> None:
        self._folder = folder
        self._prefix = prefix
        self._keep = keep
        self._id = re.compile(rf"{re.escape(prefix)}_[0-9a-z]{{26}}")

    def write(self, record_id: str, content: bytes) -> None:
        """Keep a record, on the disk when this returns, and drop the oldest beyond the number kept."""
        replace_durably(self._path(record_id), content)
        for old in self.newest()[self._keep :]:
            self._path(old).unlink(missing_ok=True)

    def read(self, record_id: str) -> bytes:
        """Return a record; raises FileNotFoundError, for what is no id as well."""
        if not self._id.fullmatch(record_id):
            raise FileNotFoundError
        return self._path(record_id).read_bytes()

    def newest(self) -> list[str]:
        """Return the ids of all records, newest first."""
        names = (path.stem for path in self._folder.glob(f"{self._prefix}_*.json"))
        return sorted(filter(self._id.fullmatch, names), reverse=True)

    def _path(self, record_id: str) -> Path:
        return self._folder / f"{record_id}.json"

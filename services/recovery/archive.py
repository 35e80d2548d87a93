"""The archive of write-ahead log: the server hands segments out and gets them back, sealed in between.

`archive_command` and `restore_command` are a line of shell that asks through a named pipe and waits for the
answer. The work is done here, so that the key never leaves this process, and the
server's user needs no other program.
"""

import hashlib
import os
import re
import shlex
import shutil
import threading
from pathlib import Path

from quantum_suite.core.errors import Damaged, SuiteError
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.recovery.programs import give
from quantum_suite.services.recovery.sealed_files import SealedReader, SealedWriter

_NAME = re.compile(r"[0-9A-F]{24}(\.[0-9A-F]{8}\.backup|\.partial)?|[0-9A-F]{8}\.history")
_ABORT = 200
"""An exit status above 125 has recovery give up; a lower one means that there is no such file."""


class WalArchive:
    """A folder of sealed WAL files. Several clusters may use it, each through a desk of its own."""

    def __init__(self, folder: Path, key: DataKey, backup: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._key = key
        self._backup = backup
        self.problem: SuiteError | None = None
        """What kept a file from being stored or read, first of all."""
        self.stored_bytes = 0

    def names(self) -> list[str]:
        """Return the names of the files there are, in order."""
        return sorted(path.stem for path in self.folder.glob("*.sealed"))

    def put(self, name: str, source: Path) -> bool:
        """Seal a file. One that is there already is never replaced: it counts as stored when it is the same."""
        target = self.folder / f"{name}.sealed"
        if target.exists():
            return self._hash(target) == hashlib.sha256(source.read_bytes()).hexdigest()
        with SealedWriter(target, self._key, self._backup) as writer, source.open("rb") as plain:
            while piece := plain.read(1024 * 1024):
                writer.feed(piece)
            writer.finish()
        self.stored_bytes += target.stat().st_size
        return True

    def get(self, name: str, target: Path) -> bool:
        """Write a file's plain text to `target`, for the server; False when there is none. Raises Damaged."""
        source = self.folder / f"{name}.sealed"
        if not source.exists():
            return False
        with SealedReader(source, self._key, self._backup) as reader, target.open("wb") as plain:
            shutil.copyfileobj(reader, plain)
        target.chmod(0o600)
        give(target)
        return True

    def _hash(self, path: Path) -> str:
        digest = hashlib.sha256()
        with SealedReader(path, self._key, self._backup) as reader:
            while piece := reader.read(1024 * 1024):
                digest.update(piece)
        return digest.hexdigest()


class ArchiveDesk:
    """Answers one cluster's questions, in a thread of its own; a context manager."""

    def __init__(self, archive: WalArchive, data: Path, folder: Path) -> None:
        self._archive = archive
        self._data = data
        folder.mkdir(mode=0o711)
        self._asks, self._answers = folder / "asks", folder / "answers"
        for pipe in (self._asks, self._answers):
            os.mkfifo(pipe, 0o600)
            give(pipe)
        give(folder)
        self._open: list[int] = []
        self._thread = threading.Thread(target=self._serve, name="archive desk", daemon=True)

    @property
    def archive_command(self) -> str:
        """Return what the server runs for a segment that is full."""
        return self._command("put", "exit 1")

    @property
    def restore_command(self) -> str:
        """Return what the server runs for a segment that it needs."""
        return self._command("get", f'case "$answer" in damaged*) exit {_ABORT};; *) exit 1;; esac')

    def _command(self, verb: str, otherwise: str) -> str:
        asks, answers = (shlex.quote(str(pipe)).replace("%", "%%") for pipe in (self._asks, self._answers))
        return (
            f"echo '{verb} %f %p' > {asks} && read -r answer < {answers} && "
            f'if [ "$answer" = "ok %f" ]; then exit 0; else {otherwise}; fi'
        )

    def __enter__(self) -> "ArchiveDesk":
        # Open for both ways, a pipe neither ends nor blocks when nobody is at its other end.
        self._open = [os.open(pipe, os.O_RDWR | os.O_CLOEXEC) for pipe in (self._asks, self._answers)]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._open[0], b"stop\n")
        self._thread.join(timeout=10)
        for pipe in self._open:
            os.close(pipe)

    def _serve(self) -> None:
        asks, answers = self._open
        unread = b""
        while True:
            line, end, rest = unread.partition(b"\n")
            if not end:
                unread += os.read(asks, 4096)
                continue
            unread = rest
            if line == b"stop":
                return
            os.write(answers, self._answer(line.decode(errors="replace")).encode() + b"\n")

    def _answer(self, line: str) -> str:
        verb, _, rest = line.partition(" ")
        name, _, place = rest.partition(" ")
        path = self._data / place
        if not _NAME.fullmatch(name) or not path.resolve().is_relative_to(self._data.resolve()):
            return "no"
        try:
            done = self._archive.put(name, path) if verb == "put" else self._archive.get(name, path)
        except OSError as error:
            self._note(Damaged(f"The archive cannot take or give {name}: {error.strerror}.", "Look at its disk."))
            return "no"
        except SuiteError as error:
            self._note(error)
            return "damaged"
        return f"ok {name}" if done else "no"

    def _note(self, error: SuiteError) -> None:
        self._archive.problem = self._archive.problem or error

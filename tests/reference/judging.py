"""Small real projects, changes to them, and the judge with its real parts."""

import contextlib
import sysconfig
import venv
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.rendering import to_unified_diff
from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.scratch.files import FileScratchSpace
from quantum_suite.services.validators.interface import Validator
from quantum_suite.services.validators.judge import Judge, Judgement
from quantum_suite.services.validators.sandboxed import Bench

Files = Mapping[str, str | bytes]


def encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def write_project(root: Path, files: Files) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encoded(content))
    return root


def add_environment(root: Path) -> None:
    """Give a project an environment of its own, in which everything is installed that the suite has here."""
    venv.create(root / ".venv", with_pip=False, symlinks=True)
    (packages,) = (root / ".venv/lib").glob("python3*/site-packages")
    (packages / "here.pth").write_text(sysconfig.get_paths()["purelib"])


def patch_of(root: Path, files: Mapping[str, str | bytes | None]) -> str:
    """Return the diff that gives a project these files; None removes one."""
    changes = []
    for path, content in files.items():
        there = (root / path).read_bytes() if (root / path).is_file() else None
        changes.append(FileChange(path, there, None if content is None else encoded(content)))
    return to_unified_diff(ChangeSet(tuple(changes)))


@dataclass
class Court:
    """A sandbox, room for copies, and judges over them."""

    sandbox: Sandbox
    bench: Bench
    folder: Path

    async def judge(
        self, root: Path, files: Mapping[str, str | bytes | None], *gates: Validator, patch: str | None = None
    ) -> Judgement:
        judge = Judge(FileScratchSpace(self.folder / "copies"), gates)
        return await judge.judge(root, patch if patch is not None else patch_of(root, files))


@contextlib.asynccontextmanager
async def open_court(folder: Path) -> AsyncIterator[Court]:
    folder.mkdir(parents=True, exist_ok=True)
    sandbox = (await best_sandbox(folder=folder)).sandbox
    yield Court(sandbox, Bench(sandbox), folder)

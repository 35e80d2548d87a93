"""SLOs as files in a workspace: found, written with their rules beside them, never over what was not seen."""

import difflib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.errors import CallerError, Conflict, NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.services.slo.documents import MAX_CHARACTERS
from quantum_suite.services.slo.interface import InvalidSlo, Slo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.workspaces import Workspaces

DIRECTORY = "slos"
RULES_SUFFIX = ".rules.yaml"
_ENDINGS = (".yaml", ".yml")
MAX_FILES = 200
_MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class FoundSlos:
    """The SLOs of some files, and what was wrong with others."""

    slos: tuple[Slo, ...]
    problems: tuple[str, ...]

    def get(self, name: str, argument: str = "slo") -> Slo:
        """Return an SLO by its id (service-name), or by its name where one alone has it; raises NotFound."""
        fitting = [slo for slo in self.slos if slo.id == name] or [slo for slo in self.slos if slo.name == name]
        if len(fitting) == 1:
            return fitting[0]
        there = ", ".join(slo.id for slo in self.slos[:20]) or "none"
        what = "There is no SLO" if not fitting else f"{len(fitting)} services have an SLO"
        hint = f"There is: {there}." + (f" Not read: {self.problems[0]}" if self.problems else "")
        raise NotFound(f"{what} named '{name[:100]}'.", hint, argument=argument)


@dataclass(frozen=True, slots=True)
class SloPaths:
    """Where an SLO file and its rules are."""

    file: Path
    rules: Path

    def digest(self) -> str | None:
        """Return what names the present content of both; None where neither is there."""
        contents = [_bytes(path) for path in (self.file, self.rules)]
        if contents == [None, None]:
            return None
        parts = [hashlib.sha256(content).digest() if content is not None else b"none" for content in contents]
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SloFiles:
    """Reads and writes SLO files. Every path goes through the workspaces that the principal was granted."""

    workspaces: Workspaces

    def read(self, path: str | None, principal: Principal) -> FoundSlos:
        """Return the SLOs of a file or of a directory and those below it; of `slos` in each workspace for None.

        A file that is given by itself has to be right (InvalidSlo); among several, what is wrong is a problem of
        that file alone. Of two SLOs with one id the first counts.
        """
        if path is not None:
            real = self.workspaces.resolve(path, principal)
            if real.is_file():
                return FoundSlos(tuple(load_slos(read_text(real), real.name)), ())
            return self._read_all(real, real, principal)
        roots = [root for root in self.workspaces.granted(principal) if (root / DIRECTORY).is_dir()]
        slos: list[Slo] = []
        problems: list[str] = []
        for root in roots:
            directory = self.workspaces.resolve(str(root / DIRECTORY), principal)
            found = self._read_all(directory, root, principal)
            slos += found.slos
            problems += found.problems
        return _without_doubles(slos, problems)

    def _files_below(self, directory: Path) -> list[Path]:
        found: list[Path] = []
        entries = 0
        for folder, folders, names in os.walk(directory):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            entries += len(names)
            found += [
                Path(folder, name)
                for name in sorted(names)
                if name.endswith(_ENDINGS) and not name.endswith(RULES_SUFFIX) and not name.startswith(".")
            ]
            if len(found) > MAX_FILES or entries > _MAX_ENTRIES:
                raise CallerError(
                    f"There are more than {MAX_FILES} YAML files or {_MAX_ENTRIES} others below {directory.name}.",
                    "Name the file, or the folder that holds the SLOs.",
                    argument="path",
                )
        return found

    def _read_all(self, directory: Path, base: Path, principal: Principal) -> FoundSlos:
        slos: list[Slo] = []
        problems: list[str] = []
        for file in self._files_below(directory):
            shown = str(file.relative_to(base))
            try:
                # A link may lead out of the grant.
                slos += load_slos(read_text(self.workspaces.resolve(str(file), principal)), shown)
            except InvalidSlo as error:
                problems += [str(problem) for problem in error.problems]
            except CallerError as error:
                problems.append(f"{shown}: {error.message}")
        return _without_doubles(slos, problems)

    def paths(self, path: str, principal: Principal) -> SloPaths:
        """Return where a file and its rules are, or would be; raises CallerError for a path out of the grant."""
        given = Path(path).expanduser()
        if not path.endswith(_ENDINGS) or path.endswith(RULES_SUFFIX):
            raise CallerError(f"'{path[:200]}' is no YAML file.", "End it in .yaml.", argument="path")
        if "\0" in path or ".." in given.parts:
            raise CallerError(
                "The path leads upwards, or holds a NUL character.", "Give a plain path.", argument="path"
            )
        missing: list[str] = []
        existing = given
        while not self._is_there(existing, principal):
            missing.append(existing.name)
            existing = existing.parent
        real = self.workspaces.resolve(str(existing), principal)
        file = real.joinpath(*reversed(missing))
        if missing and not real.is_dir():
            raise CallerError(f"'{real.name}' is no folder.", "Name a file in a folder.", argument="path")
        if file.is_dir():
            raise CallerError(f"'{path[:200]}' is a folder.", "Name a file in it.", argument="path")
        rules = file.with_name(file.name.rpartition(".")[0] + RULES_SUFFIX)
        if rules.is_symlink() or rules.is_dir():
            raise CallerError(f"{rules.name} beside it is no plain file.", "Take another name.", argument="path")
        return SloPaths(file, rules)

    def _is_there(self, path: Path, principal: Principal) -> bool:
        if path == path.parent:
            return True
        roots = self.workspaces.granted(principal)
        whole = path if path.is_absolute() or not roots else roots[0] / path
        return os.path.lexists(whole)

    def write(self, paths: SloPaths, content: str, rules: str, expected: str | None) -> None:
        """Write both files. Raises Conflict where what is there is not what `expected` names: nothing is written.

        Each file is replaced whole. After a crash between them the rules are old: making them again mends that.
        """
        present = paths.digest()
        if present != expected:
            seen = "which you have not seen" if expected is None else "which is not what you have seen"
            raise Conflict(
                f"{paths.file.name} or its rules are there already with digest {present}, {seen}."
                if present is not None
                else f"{paths.file.name} is not there any more.",
                "Call with dry_run to see the difference, then pass its digest as expected.",
                argument="expected",
            )
        paths.file.parent.mkdir(parents=True, exist_ok=True)
        _replace(paths.file, content.encode())
        _replace(paths.rules, rules.encode())


def difference(paths: SloPaths, content: str, rules: str) -> str:
    """Return a unified diff from what is there to what would be; empty where nothing changes."""
    lines: list[str] = []
    for path, wanted in ((paths.file, content), (paths.rules, rules)):
        present = _bytes(path)
        before = present.decode(errors="replace").splitlines(keepends=True) if present is not None else []
        name = "/dev/null" if present is None else path.name
        lines += difflib.unified_diff(before, wanted.splitlines(keepends=True), name, path.name)
    return "".join(lines)


def read_text(path: Path) -> str:
    """Return a file's text; raises CallerError for one that is too large, or no text."""
    try:
        if path.stat().st_size > MAX_CHARACTERS * 4:
            raise CallerError(f"{path.name} is too large for SLOs.", argument="path")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CallerError(f"{path.name} is not UTF-8 text.", "Save it as UTF-8.", argument="path") from error
    except OSError as error:
        raise CallerError(f"{path.name} cannot be read: {error.strerror}", argument="path") from error


def _without_doubles(slos: Sequence[Slo], problems: list[str]) -> FoundSlos:
    kept: dict[str, Slo] = {}
    for slo in slos:
        if slo.id in kept:
            problems.append(
                f"{slo.file}:{slo.line}: the SLO {slo.id} is in {kept[slo.id].file} already: not read."
            )
        else:
            kept[slo.id] = slo
    return FoundSlos(tuple(kept.values()), tuple(problems))


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

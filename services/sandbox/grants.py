"""Which folders a command is given: the system's, its Python's, and those it was granted."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.process_group import ProcessNotStarted
from quantum_suite.services.sandbox.interface import SandboxCommand

SYSTEM_FOLDERS = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/gnu/store",
)
"""Programs and libraries. Where one is a link, as `/bin` mostly is, it is the same link in the sandbox."""

SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/debian_version",
    "/etc/fonts",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
)
"""What libraries look up. Not all of `/etc`: for root, that holds keys and passwords."""

NETWORK_FILES = ("/etc/resolv.conf", "/etc/gai.conf")

_MOST_LINKS = 40
"""As many as the kernel follows."""


def checked_folders(command: SandboxCommand) -> tuple[Path, list[Path], list[Path]]:
    """Return the real paths of where a command starts, what it may change, and what it may read besides.

    Raises ConfigurationError when one does not exist.
    """
    cwd = _real(command.cwd, "working directory")
    writable = [_real(folder, "writable folder") for folder in command.writable]
    readable = [_real(folder, "readable folder", or_file=True) for folder in command.readable]
    return cwd, writable, readable


def find_program(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Path:
    """Return where a program is, links unresolved; raises ProcessNotStarted when it is nowhere."""
    if not command:
        raise ProcessNotStarted("The command is empty.", "Name a program to start.", program="")
    name = command[0]
    place = str(cwd / name) if "/" in name else name
    found = shutil.which(place, path=env.get("PATH", os.defpath))
    if found is None:
        raise ProcessNotStarted(
            f"{name} was not found, or is not an executable file.",
            f"Install {Path(name).name}, or give its full path.",
            program=Path(name).name,
        )
    return Path(os.path.abspath(found))  # noqa: PTH100 - links stay: a virtual environment is found through them


def python_folders() -> set[Path]:
    """Return the folders that this Python and its packages are in."""
    places = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    places |= {path for name, path in sysconfig.get_paths().items() if "lib" in name}
    return {path for place in places for path in (Path(place), Path(place).resolve()) if path != Path("/usr")}


def program_folders(program: Path) -> set[Path]:
    """Return what a program needs beside the system: itself, where its links lead, and the installation around
    it, such as the virtual environment and the Python that it was made from."""
    found: set[Path] = set()
    for hop in _hops(program):
        installation = hop.parent.parent
        found.add(installation if _is_installation(installation) else hop)
        found |= virtual_environment_bases(installation)
    real = program.resolve()
    found.add(real.parent.parent if _is_installation(real.parent.parent) else real)
    return found


def virtual_environment_bases(folder: Path) -> set[Path]:
    """Return the installation that a virtual environment stands on; nothing when `folder` is none."""
    try:
        lines = (folder / "pyvenv.cfg").read_text("utf-8", "replace").splitlines()
    except OSError:
        return set()
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "home" and _is_python(Path(value.strip()).parent):
            base = Path(value.strip()).parent
            return {base, base.resolve()}
    return set()


def environments_in(folders: Iterable[Path]) -> set[Path]:
    """Return the installations behind virtual environments that folders are, or hold where it is usual."""
    places = (place for folder in folders for place in (folder, folder / ".venv", folder / "venv"))
    return {base for place in places for base in virtual_environment_bases(place)}


def _hops(path: Path) -> list[Path]:
    """Return a path and every path its links lead over."""
    hops = [path]
    while hops[-1].is_symlink() and len(hops) < _MOST_LINKS:
        target = os.path.normpath(hops[-1].parent / hops[-1].readlink())
        hops.append(Path(target))
    return hops


def _is_installation(folder: Path) -> bool:
    """Whether a folder is one program's own."""
    if _holds_more(folder):
        return False
    return (folder / "pyvenv.cfg").is_file() or _is_python(folder) or (folder / "lib/node_modules").is_dir()


def _is_python(folder: Path) -> bool:
    return not _holds_more(folder) and any(folder.glob("lib/python3.*/os.py"))


def _holds_more(folder: Path) -> bool:
    """Whether a folder is the whole system's, or the user's home or above it: it may have a `bin` beside a `lib`,
    and is never granted for that."""
    return folder.resolve() in (Path("/"), Path("/usr")) or Path.home().resolve().is_relative_to(folder.resolve())


def _real(folder: Path, what: str, *, or_file: bool = False) -> Path:
    try:
        real = Path(folder).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"The {what} {folder} does not exist.", "Name an existing one.") from error
    if not or_file and not real.is_dir():
        raise ConfigurationError(f"The {what} {folder} is not a folder.", "Name a folder.")
    return real

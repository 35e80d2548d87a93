"""A Pulumi project's folder: Pulumi.yaml, a stack's file beside it, and the digest of its sources."""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quantum_suite.core.errors import CallerError
from quantum_suite.services.infrastructure.interface import StackRequest

_MAX_YAML_BYTES = 4 * 1024 * 1024
_MAX_FILES = 20_000
_MAX_BYTES = 512 * 1024 * 1024
_SKIPPED = frozenset(
    {".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".mypy_cache", ".ruff_cache"}
)
_RUNTIMES = ("python", "yaml")
_PASSPHRASE_ROUNDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Project:
    """What Pulumi.yaml says."""

    folder: Path
    name: str
    runtime: str
    main: str = ""
    virtualenv: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A stack's configuration, secrets open."""

    values: Mapping[str, str]
    """By full key, `project:name`."""
    secret_keys: frozenset[str]


def read_project(folder: Path) -> Project:
    """Return the project in a folder; raises CallerError saying what is wrong with it."""
    path = next((folder / name for name in ("Pulumi.yaml", "Pulumi.yml") if (folder / name).is_file()), None)
    if path is None:
        raise CallerError(
            f"{folder} holds no Pulumi.yaml.", "Name the folder of a Pulumi project.", argument="folder"
        )
    document = _read_yaml(path)
    runtime = document.get("runtime")
    name = runtime.get("name") if isinstance(runtime, Mapping) else runtime
    options = runtime.get("options") if isinstance(runtime, Mapping) else None
    if not isinstance(document.get("name"), str) or not document["name"]:
        raise _wrong(path, "it has no name", "Add `name: my-project`.")
    if name not in _RUNTIMES:
        raise _wrong(path, f"its runtime is {name!r}", f"This engine runs {' and '.join(_RUNTIMES)} programs.")
    main = str(document.get("main") or "")
    if main and not (folder / main).resolve().is_relative_to(folder.resolve()):
        raise _wrong(path, "its main leads out of the folder", "Name a file or folder inside.")
    virtualenv = str(options.get("virtualenv") or "") if isinstance(options, Mapping) else ""
    return Project(folder, document["name"], name, main, virtualenv, document)


def read_configuration(project: Project, request: StackRequest) -> Configuration:
    """Return a stack's configuration: the project's defaults, overlaid by the stack's file and by the request.

    Raises CallerError for a file or value that cannot be used.
    """
    values: dict[str, str] = {}
    secret_keys: set[str] = set()
    for key, declared in (project.document.get("config") or {}).items():
        full = _full(project, str(key))
        if isinstance(declared, Mapping):
            given = declared.get("default", declared.get("value"))
            if declared.get("secret"):
                secret_keys.add(full)
        else:
            given = declared
        if given is not None:
            values[full] = _text(given)
    path = project.folder / f"Pulumi.{request.ref.stack}.yaml"
    if path.is_file():
        document = _read_yaml(path)
        for key, given in (document.get("config") or {}).items():
            full = _full(project, str(key))
            if isinstance(given, Mapping) and set(given) == {"secure"}:
                values[full] = _opened(str(given["secure"]), document, request, path, full)
                secret_keys.add(full)
            else:
                values[full] = _text(given)
    for key, value in request.config.items():
        values[_full(project, key)] = value
    secret_keys.update(_full(project, key) for key in request.secret_config)
    return Configuration(values, frozenset(secret_keys & values.keys()))


def _opened(sealed: str, document: Mapping[str, Any], request: StackRequest, path: Path, key: str) -> str:
    """Decrypt a value that Pulumi's passphrase provider sealed."""
    passphrase = request.environment.get("PULUMI_CONFIG_PASSPHRASE")
    salt = str(document.get("encryptionsalt") or "")
    if passphrase is None or not salt:
        raise CallerError(
            f"{key} in {path.name} is sealed, and nothing here opens it.",
            "Give the value in `config`, or put PULUMI_CONFIG_PASSPHRASE into the environment of the stacks.",
            argument="config",
        )
    try:
        derive = PBKDF2HMAC(
            algorithm=hashes.SHA256(),
            length=32,
            salt=base64.b64decode(salt.split(":")[1]),
            iterations=_PASSPHRASE_ROUNDS,
        )
        _, nonce, text = sealed.split(":")
        cipher = AESGCM(derive.derive(passphrase.encode()))
        return cipher.decrypt(base64.b64decode(nonce), base64.b64decode(text), None).decode()
    except (InvalidTag, ValueError, IndexError, binascii.Error) as error:
        raise CallerError(
            f"{key} in {path.name} does not open with PULUMI_CONFIG_PASSPHRASE.",
            "Check the passphrase, or give the value in `config`.",
            argument="config",
        ) from error


def source_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of a project's files.

    Left out are version control, caches and virtual environments. Links count by where they lead. Raises
    CallerError where there is too much to be a program.
    """
    digest = hashlib.sha256()
    files = total = 0
    for path in _files(folder):
        files += 1
        name = os.fsencode(path.relative_to(folder))
        digest.update(len(name).to_bytes(4, "big") + name)
        if path.is_symlink():
            digest.update(b"L" + os.fsencode(path.readlink()))
            continue
        size = path.stat().st_size
        total += size
        if files > _MAX_FILES or total > _MAX_BYTES:
            raise CallerError(
                f"{folder} holds more than {_MAX_FILES} files or {_MAX_BYTES // 2**20} MiB.",
                "Keep the program in a folder of its own.",
                argument="folder",
            )
        digest.update(b"F" + size.to_bytes(8, "big"))
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and not (Path(place) / name / "pyvenv.cfg").exists()
        )
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*names, *linked]):
            path = Path(place) / name
            if path.is_symlink() or path.is_file():
                yield path


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_YAML_BYTES:
        raise _wrong(path, f"it is larger than {_MAX_YAML_BYTES} bytes", "Split the program.")
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(path, f"it is no YAML: {error}", "Mend it.") from error
    if not isinstance(document, dict):
        raise _wrong(path, "it is no mapping", "Start with `name:` and `runtime:`.")
    return document


def _wrong(path: Path, what: str, hint: str) -> CallerError:
    return CallerError(f"{path.name} cannot be used: {what}.", hint, argument="folder")


def _full(project: Project, key: str) -> str:
    return key if ":" in key else f"{project.name}:{key}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, default=str)

"""The functions of Pulumi YAML (`fn::...`), on values that may be secret or not known yet."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.values import (
    SIGNATURE_KEY,
    UNKNOWN_VALUE,
    has_unknown,
    plain,
    secret,
    secrets_of,
)

_ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
_MAX_FILE_BYTES = 4 * 1024 * 1024


def call_function(name: str, argument: Any, folder: Path) -> Any:
    """Return what a function makes of its (evaluated) argument; secret or unknown where the argument is.

    Raises ProviderFailed naming the function.
    """
    if name == "fn::secret":
        return secret(argument)
    function = _FUNCTIONS.get(name)
    if function is None and name not in _OF_FILES:
        known = ", ".join(sorted([*_FUNCTIONS, *_OF_FILES, "fn::secret", "fn::invoke"]))
        raise ProviderFailed(f"{name} is not supported. There are {known}.")
    if has_unknown(argument):
        value: Any = UNKNOWN_VALUE
    else:
        try:
            value = _OF_FILES[name](plain(argument), folder) if function is None else function(plain(argument))
        except (TypeError, ValueError, KeyError, IndexError, OSError) as error:
            raise ProviderFailed(f"{name}: {error}") from error
    return secret(value) if _holds_secret(argument) else value


def _holds_secret(value: Any) -> bool:
    return any(True for _ in secrets_of(value))


def _join(argument: Any) -> str:
    separator, parts = argument
    return str(separator).join(_text(part) for part in parts)


def _select(argument: Any) -> Any:
    index, values = argument
    if not isinstance(index, int) or not 0 <= index < len(values):
        raise ValueError(f"there is no item {index} among {len(values)}")
    return values[index]


def _split(argument: Any) -> list[str]:
    separator, text = argument
    return str(text).split(str(separator))


def _to_json(argument: Any) -> str:
    return json.dumps(argument, separators=(",", ":"), ensure_ascii=False)


def _from_base64(argument: Any) -> str:
    try:
        return base64.b64decode(str(argument), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("it is no base64 of a text") from error


def _read_file(argument: Any, folder: Path) -> str:
    path = (folder / str(argument)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{argument} lies outside the project's folder")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{argument} is larger than {_MAX_FILE_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return _to_json(value) if isinstance(value, Mapping | list) else str(value)


as_text = _text
"""How a value reads within a text."""

_FUNCTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "fn::join": _join,
    "fn::select": _select,
    "fn::split": _split,
    "fn::toJSON": _to_json,
    "fn::fromJSON": lambda argument: json.loads(argument),
    "fn::toBase64": lambda argument: base64.b64encode(str(argument).encode()).decode(),
    "fn::fromBase64": _from_base64,
    "fn::stringAsset": lambda argument: {SIGNATURE_KEY: _ASSET, "text": str(argument)},
    "fn::remoteAsset": lambda argument: {SIGNATURE_KEY: _ASSET, "uri": str(argument)},
    "fn::fileAsset": lambda argument: {SIGNATURE_KEY: _ASSET, "path": str(argument)},
    "fn::fileArchive": lambda argument: {SIGNATURE_KEY: _ARCHIVE, "path": str(argument)},
    "fn::remoteArchive": lambda argument: {SIGNATURE_KEY: _ARCHIVE, "uri": str(argument)},
    "fn::assetArchive": lambda argument: {SIGNATURE_KEY: _ARCHIVE, "assets": dict(argument)},
}
_OF_FILES: Final[Mapping[str, Callable[[Any, Path], Any]]] = {"fn::readFile": _read_file}

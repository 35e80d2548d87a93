"""Reads `providers.yaml` and says exactly where it is wrong."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.llm.configuration import (
    ModelsConfig,
    ProviderOptions,
    expand,
    missing_targets,
    variable_of,
)
from quantum_suite.services.yaml_nodes import Node, UnreadableYaml, YamlForm, read_nodes

HOW_TO_CONFIGURE = (
    "Write a providers.yaml into the data directory, or name one in QUANTUM_MODELS, and start again: "
    "docs/models.md shows one."
)
_MAX_KEY_BYTES = 16 * 1024
_MOST_PROBLEMS = 5
_FORM = YamlForm(characters=64 * 1024, values=5000)


def load_models(path: Path) -> ModelsConfig:
    """Return what the file says; raises ConfigurationError with the place of everything that is wrong (the first
    few). Values are not shown: one may be a key in the wrong place."""
    node = _read(path)
    try:
        config = ModelsConfig.model_validate(node.plain())
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise _wrong(path, [(_at(node, one["loc"]), one["msg"]) for one in problems]) from None
    missing = [
        (_at(node, ("routes", route, number)), problem) for route, number, problem in missing_targets(config)
    ]
    if missing:
        raise _wrong(path, missing)
    return config


def credentials(options: ProviderOptions, environ: Mapping[str, str] = os.environ) -> tuple[str, dict[str, str]]:
    """Return a provider's key (empty: none is needed) and its further headers. Raises ConfigurationError saying
    what is not set; the provider alone is the worse for it."""
    try:
        headers = {name: expand(value, environ) for name, value in options.headers.items()}
    except KeyError as error:
        raise ConfigurationError(f"The environment variable {error.args[0]} is not set.") from None
    if options.api_key is not None:
        variable = variable_of(options.api_key) or ""
        key = environ.get(variable, "").strip()
        if not key:
            raise ConfigurationError(f"The environment variable {variable} is not set.")
        return key, headers
    if options.api_key_keyring is not None:
        return _from_keyring(*options.api_key_keyring.split("/")), headers
    if options.api_key_file is None:
        return "", headers
    file = Path(options.api_key_file).expanduser()
    try:
        with file.open("rb") as opened:
            key = opened.read(_MAX_KEY_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key file {file} cannot be read: {error}.") from error
    if not key or "\n" in key:
        raise ConfigurationError(f"The key file {file} does not hold one line with a key.")
    return key, headers


def _from_keyring(service: str, user: str) -> str:
    try:
        # Optional, and slow to import: it looks for every desktop's services.
        import keyring
        import keyring.errors
    except ImportError:
        raise ConfigurationError(
            "Keys in the system's keyring need a package.", 'pip install "quantum-suite[keyring]"'
        ) from None
    try:
        key = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise ConfigurationError(f"The keyring cannot be used: {reason}.") from error
    if not key:
        raise ConfigurationError(f"The keyring holds no key for {service}/{user}.")
    return key.strip()


def _read(path: Path) -> Node:
    try:
        found = read_nodes(path.expanduser().read_bytes().decode("utf-8-sig"), _FORM)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", HOW_TO_CONFIGURE) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start} is not UTF-8.", "Save it as UTF-8.") from error
    except UnreadableYaml as error:
        raise ConfigurationError(f"{path}: {error.problem}") from error
    if not found:
        raise ConfigurationError(f"{path}: it is empty.", HOW_TO_CONFIGURE)
    return found[0]


def _at(node: Node, place: Sequence[int | str]) -> Node:
    """Return the node a validation error speaks of, or the nearest around it."""
    for number, part in enumerate(place):
        if isinstance(node.value, dict) and part in node.value:
            # Of what should not be there, the key is what is wrong.
            node = node.value[part] if number + 1 < len(place) or not node.keys else _last(node, str(part))
        elif isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
            node = node.value[part]
    return node


def _last(node: Node, part: str) -> Node:
    inner: Node = node.value[part]
    return Node(inner.value, inner.path, node.keys[part].line, node.keys[part].column, inner.keys)


def _wrong(path: Path, problems: list[tuple[Node, str]]) -> ConfigurationError:
    told = [
        f"{path}: line {node.line}, column {node.column}: {node.path + ': ' if node.path else ''}"
        f"{message.removeprefix('Value error, ')}."
        for node, message in problems[:_MOST_PROBLEMS]
    ]
    if len(problems) > _MOST_PROBLEMS:
        told.append(f"There are {len(problems) - _MOST_PROBLEMS} more.")
    return ConfigurationError("\n".join(told))

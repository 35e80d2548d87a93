"""Reads the operator's file of channels and rules."""

from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.notifications.rules import NotificationRules

_MAX_BYTES = 1024 * 1024


def load_rules(path: Path) -> NotificationRules:
    """Return what the YAML file at `path` says; raises ConfigurationError naming the place that is wrong."""
    try:
        text = path.expanduser().read_bytes()[: _MAX_BYTES + 1]
        if len(text) > _MAX_BYTES:
            raise ConfigurationError(f"{path} is too large.", f"Keep it below {_MAX_BYTES} bytes.")
        said = YAML(typ="safe", pure=True).load(text.decode())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", "Mend the setting.") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())[:300]}") from error
    try:
        return NotificationRules.model_validate(said)
    except ValidationError as error:
        # What was written there may be a secret in the wrong place: it is not shown.
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigurationError(f"{path}: {where}: {first['msg']}.", "Mend it; nothing was sent.") from error

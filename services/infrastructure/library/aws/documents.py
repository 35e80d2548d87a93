"""Policy documents in one form: what AWS treats as the same reads the same."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from quantum_suite.services.infrastructure.library.properties import text


def document(value: Any) -> str:
    """Return a policy document, given as JSON or as an object, in its one JSON text; empty for none.

    Lists whose order means nothing are sorted, a list of one is its item, keys are sorted. Raises ValueError.
    """
    if isinstance(value, str):
        if not value.strip():
            return ""
        try:
            value = json.loads(value)
        except ValueError:
            try:
                value = json.loads(unquote(value))
            except ValueError as error:
                raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(value, Mapping):
        raise ValueError("a policy document is an object")
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":")) if value else ""


def documents(value: Any) -> dict[str, str]:
    """Return policy documents by name."""
    if not isinstance(value, Mapping):
        raise ValueError("it must map names to policy documents")
    return {text(name): document(one) for name, one in sorted(value.items())}


def _normal(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        inside = {name: _normal(item, name) for name, item in value.items()}
        return [inside] if key == "Statement" else inside
    if isinstance(value, list):
        items = [_normal(item) for item in value]
        if key == "Statement":
            return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        scalars = all(isinstance(item, str | int | float | bool) for item in items)
        if scalars:
            items = sorted(set(map(_scalar, items)))
        return items[0] if scalars and len(items) == 1 else items
    return _scalar(value) if key not in ("Version", "Sid", "Id", "Effect") else value


def _scalar(value: Any) -> Any:
    """Return what conditions compare as text the way AWS writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value

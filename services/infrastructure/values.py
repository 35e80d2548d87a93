"""Property values as Pulumi has them: JSON, in which some objects stand for something else.

Such an object carries a signature under one special key (sdk/go/common/resource/properties in pulumi/pulumi).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - marks secrets, is none
RESOURCE_SIGNATURE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN_VALUE: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The string that stands for a value nobody knows yet."""

_SHOWN_TEXT = 2_000
_MISSING: Final = object()


def is_secret(value: Any) -> bool:
    """Whether a value is marked as a secret."""
    return isinstance(value, Mapping) and value.get(SIGNATURE_KEY) == SECRET_SIGNATURE


def secret(value: Any) -> dict[str, Any]:
    """Mark a value as a secret; one that is marked stays as it is."""
    return dict(value) if is_secret(value) else {SIGNATURE_KEY: SECRET_SIGNATURE, "value": value}


def plain(value: Any) -> Any:
    """Return a value without the marks of secrets and of outputs."""
    if isinstance(value, Mapping):
        signature = value.get(SIGNATURE_KEY)
        if signature == SECRET_SIGNATURE:
            return plain(value.get("value"))
        if signature == OUTPUT_SIGNATURE:
            return plain(value.get("value", UNKNOWN_VALUE))
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def marked_like(value: Any, model: Any) -> Any:
    """Mark as secret in `value` what is secret at the same place in `model`."""
    if is_secret(model):
        return secret(value)
    if isinstance(value, Mapping) and isinstance(model, Mapping) and not is_secret(value):
        return {key: marked_like(item, model.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(model, list):
        return [
            marked_like(item, model[index] if index < len(model) else None) for index, item in enumerate(value)
        ]
    return value


def has_unknown(value: Any) -> bool:
    """Whether something in a value is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN_VALUE)


def secrets_of(value: Any) -> Iterator[str]:
    """Yield every text that is or is in a secret."""
    if is_secret(value):
        yield from _texts(value.get("value"))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_of(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def shown(value: Any, secret_mask: str, unknown_mask: str) -> Any:
    """Return a value as a person may see it: secrets and unknowns replaced, internals and very long text cut."""
    if is_secret(value):
        return secret_mask
    if isinstance(value, Mapping):
        if value.get(SIGNATURE_KEY) == RESOURCE_SIGNATURE:
            return value.get("urn", "")
        if value.get(SIGNATURE_KEY) == OUTPUT_SIGNATURE:
            return secret_mask if value.get("secret") else shown(plain(value), secret_mask, unknown_mask)
        return {
            key: shown(item, secret_mask, unknown_mask)
            for key, item in value.items()
            if not str(key).startswith("__")
        }
    if isinstance(value, list | tuple):
        return [shown(item, secret_mask, unknown_mask) for item in value]
    if value == UNKNOWN_VALUE:
        return unknown_mask
    if isinstance(value, str) and len(value) > _SHOWN_TEXT:
        return f"{value[:_SHOWN_TEXT]}... ({len(value)} characters)"
    return value


def mapped_secrets(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a value with each secret object replaced by what `change` makes of it."""
    if isinstance(value, Mapping):
        if value.get(SIGNATURE_KEY) == SECRET_SIGNATURE:
            return change(dict(value))
        return {key: mapped_secrets(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mapped_secrets(item, change) for item in value]
    return value


def differing_paths(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two values differ, as path, old and new; `absent()` where one has nothing there."""
    if is_secret(old) or is_secret(new):
        if plain(old) != plain(new) or (old is _MISSING) != (new is _MISSING):
            yield path, old, new
        return
    if _is_object(old) and _is_object(new):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differing_paths(old.get(key, _MISSING), new.get(key, _MISSING), _below(path, str(key)))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _MISSING
            after = new[index] if index < len(new) else _MISSING
            yield from differing_paths(before, after, f"{path}[{index}]")
    elif old is _MISSING or new is _MISSING or old != new:
        yield path, old, new


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and SIGNATURE_KEY not in value


def absent(value: Any) -> bool:
    """Whether `differing_paths` says that there is nothing."""
    return value is _MISSING


def matches_planned(planned: Any, actual: Any) -> bool:
    """Whether a value is what was planned, where what was unknown then may be anything."""
    if planned == UNKNOWN_VALUE:
        return True
    if isinstance(planned, Mapping) and isinstance(actual, Mapping):
        return planned.keys() == actual.keys() and all(
            matches_planned(value, actual[key]) for key, value in planned.items()
        )
    if isinstance(planned, list) and isinstance(actual, list):
        return len(planned) == len(actual) and all(map(matches_planned, planned, actual))
    return bool(planned == actual)


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _below(path: str, key: str) -> str:
    if not key.replace("_", "").replace("-", "").isalnum():
        key = f'["{key}"]'
        return f"{path}{key}"
    return f"{path}.{key}" if path else key


def covers(pattern: str, path: str) -> bool:
    """Whether a path given by a user (`tags`, `rules[*].port`, `*`) covers a property path."""
    if pattern == "*":
        return True
    parts, given = _parts(path), _parts(pattern)
    return len(given) <= len(parts) and all(one in ("*", other) for one, other in zip(given, parts, strict=False))


def _parts(path: str) -> list[str]:
    spread = path.replace('["', ".").replace('"]', "").replace("[", ".").replace("]", "")
    return [part for part in spread.split(".") if part]


def with_kept(new: Mapping[str, Any], old: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """Return `new` with the values at `paths` as they were in `old`: what `ignoreChanges` asks for."""
    result: Any = dict(new)
    for path in paths:
        if path == "*":
            return dict(old)
        result = _kept(result, old, _parts(path))
    return dict(result)


def _kept(new: Any, old: Any, parts: list[str]) -> Any:
    if not parts:
        return old
    first, rest = parts[0], parts[1:]
    if isinstance(new, list):
        earlier = old if isinstance(old, list) else []
        places = range(len(new)) if first == "*" else [int(first)] if first.isdigit() else []
        kept = list(new)
        for place in places:
            if place < len(kept) and place < len(earlier):
                kept[place] = _kept(kept[place], earlier[place], rest)
        return kept
    if isinstance(new, Mapping):
        before = old if isinstance(old, Mapping) else {}
        changed = dict(new)
        for key in [*dict.fromkeys([*new, *before])] if first == "*" else [first]:
            if rest and key in changed:
                changed[key] = _kept(changed[key], before.get(key), rest)
            elif not rest and key in before:
                changed[key] = before[key]
            elif not rest:
                changed.pop(key, None)
        return changed
    return new

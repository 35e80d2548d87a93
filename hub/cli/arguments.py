"""`key=value` on the command line, turned into a tool's arguments by its schema."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantum_suite.core.errors import CallerError

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool, as its schema describes it."""

    name: str
    types: frozenset[str]
    """JSON types it may have; empty when the schema leaves it open."""
    choices: tuple[Any, ...]
    item_types: frozenset[str]
    required: bool
    description: str
    default: Any = None
    item_choices: tuple[Any, ...] = ()
    """What the members of a list are chosen from."""

    @property
    def shape(self) -> str:
        """Say what values it takes."""
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        names = sorted(self.types - {"null"}) or ["any"]
        if "array" in self.types and self.item_types:
            inner = " | ".join(str(choice) for choice in self.item_choices) or "/".join(sorted(self.item_types))
            names = [f"list of {inner}" if name == "array" else name for name in names]
        return " or ".join(names)


def parameters(schema: Schema) -> list[Parameter]:
    """Return a tool's arguments, the required ones first."""
    required = schema.get("required", ())
    properties = schema.get("properties", {})
    found = [_parameter(name, inner, name in required, schema) for name, inner in properties.items()]
    return sorted(found, key=lambda parameter: not parameter.required)


def build_arguments(tool: str, schema: Schema, pairs: Iterable[str], as_object: str | None) -> dict[str, Any]:
    """Return the arguments of a call; raises CallerError naming what is wrong and what would be right.

    A key given twice makes a list. Text stays text where the schema says so; elsewhere a value is read as JSON.
    """
    known = {parameter.name: parameter for parameter in parameters(schema)}
    values = _from_object(as_object)
    texts: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise CallerError(f"'{pair}' is no argument.", "Write KEY=VALUE.", argument=pair)
        texts.setdefault(name, []).append(text)
    open_ended = bool(schema.get("additionalProperties")) or (
        not known and schema.get("additionalProperties") is not False
    )
    for name in [*values, *texts]:
        if name not in known and not open_ended:
            raise _unknown(tool, name, known)
    for name, given in texts.items():
        if name in values:
            raise CallerError(f"'{name}' is in --args already.", "Give it once.", argument=name)
        values[name] = _value(known.get(name) or _anything(name), given)
    missing = [parameter for parameter in known.values() if parameter.required and parameter.name not in values]
    if missing:
        lines = "; ".join(_described(parameter) for parameter in missing)
        names = ", ".join(parameter.name for parameter in missing)
        raise CallerError(f"{tool} needs {names}.", f"{lines}.", argument=missing[0].name)
    return values


def _described(parameter: Parameter) -> str:
    about = f": {parameter.description.splitlines()[0].rstrip('.')}" if parameter.description else ""
    return f"{parameter.name}={parameter.shape}{about}"


def _from_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CallerError(f"--args is no JSON: {error}.", 'Write --args \'{"key": "value"}\'.') from error
    if not isinstance(value, dict):
        raise CallerError("--args is no JSON object.", 'Write --args \'{"key": "value"}\'.')
    return value


def _unknown(tool: str, name: str, known: Mapping[str, Parameter]) -> CallerError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    takes = ", ".join(known) or "no arguments"
    return CallerError(f"{tool} has no argument '{name}'.", f"{hint}It takes {takes}.", argument=name)


def _value(parameter: Parameter, given: Sequence[str]) -> Any:
    if len(given) > 1:
        if parameter.types and "array" not in parameter.types:
            raise _wrong(parameter, f"given {len(given)} times")
        return [_item(parameter, text) for text in given]
    text = given[0]
    if "array" in parameter.types and "string" not in parameter.types:
        return _list(parameter, text)
    value = _scalar(parameter, text, parameter.types)
    if parameter.choices and value is not None and value not in parameter.choices:
        raise _wrong(parameter, f"'{text}' is none of them")
    return value


def _list(parameter: Parameter, text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise _wrong(parameter, f"not JSON: {error}") from error
    if text == "null" and "null" in parameter.types:
        return None
    return [_item(parameter, part.strip()) for part in text.split(",") if part.strip()]


def _item(parameter: Parameter, text: str) -> Any:
    value = _scalar(parameter, text, parameter.item_types)
    if parameter.item_choices and value not in parameter.item_choices:
        raise _wrong(parameter, f"'{text}' is none of them")
    return value


def _scalar(parameter: Parameter, text: str, types: frozenset[str]) -> Any:
    if "string" in types:
        return None if text == "null" and "null" in types else text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if types and _type_of(value) not in types and not (_type_of(value) == "integer" and "number" in types):
        raise _wrong(parameter, f"'{text}' is {_type_of(value)}")
    return value


def _type_of(value: Any) -> str:
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _wrong(parameter: Parameter, what: str) -> CallerError:
    return CallerError(f"{parameter.name}: {what}.", f"Expected {_described(parameter)}.", argument=parameter.name)


def _anything(name: str) -> Parameter:
    return Parameter(name, frozenset(), (), frozenset(), required=False, description="")


def _parameter(name: str, schema: Schema, required: bool, root: Schema) -> Parameter:
    whole = _union(schema, root, 0)
    return Parameter(
        name,
        frozenset(whole.types),
        tuple(whole.choices),
        frozenset(whole.item_types),
        required,
        str(schema.get("description", "")),
        schema.get("default"),
        tuple(whole.item_choices),
    )


@dataclass(slots=True)
class _Union:
    """What all branches of a schema allow together."""

    types: set[str] = field(default_factory=set)
    choices: list[Any] = field(default_factory=list)
    item_types: set[str] = field(default_factory=set)
    item_choices: list[Any] = field(default_factory=list)


def _union(schema: Any, root: Schema, depth: int) -> _Union:
    found = _Union()
    if not isinstance(schema, Mapping) or depth > 16:
        return found
    declared = schema.get("type", [])
    found.types.update([declared] if isinstance(declared, str) else declared)
    found.choices += schema.get("enum", [])
    if "const" in schema:
        found.choices.append(schema["const"])
    if "items" in schema:
        items = _union(schema["items"], root, depth + 1)
        found.item_types |= items.types
        found.item_choices += items.choices
    branches = [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]
    if "$ref" in schema:
        branches.append(_resolved(str(schema["$ref"]), root))
    for branch in branches:
        inner = _union(branch, root, depth + 1)
        found.types |= inner.types
        found.choices += inner.choices
        found.item_types |= inner.item_types
        found.item_choices += inner.item_choices
    return found


def _resolved(reference: str, root: Schema) -> Any:
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node

"""The part of JSON Schema that inputs are described in and arguments are checked against.

What it does not know (patterns, formats, conditions) is left to the tool that owns the schema: a value is told
wrong here only where that is certain.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from quantum_suite.services.workflows.composite.expressions import Expression
from quantum_suite.services.workflows.composite.functions import kind_of, type_of
from quantum_suite.services.workflows.composite.problems import near
from quantum_suite.services.workflows.composite.templates import Template, Text
from quantum_suite.services.workflows.interface import Json
from quantum_suite.services.yaml_nodes import Node, Problem

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
KEYWORDS = (
    *("type", "description", "title", "enum", "items", "properties", "required", "additionalProperties"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
)
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
_MOST_REFERENCES = 20


def check_schema(node: Node) -> list[Problem]:
    """Return what is wrong with the description of an input."""
    if not isinstance(node.value, dict):
        return [node.problem("A schema must be a mapping.", "Write {type: string}.")]
    problems: list[Problem] = []
    for key, value in node.value.items():
        if key not in KEYWORDS:
            problems.append(node.keys[key].problem(f"'{key}' is not known here.", near(key, KEYWORDS)))
        elif key == "type" and value.plain() not in TYPES:
            problems.append(value.problem(f"'{value.plain()}' is no type.", near(str(value.plain()), TYPES)))
        elif key == "items":
            problems += check_schema(value)
        elif key == "properties" and isinstance(value.value, dict):
            for inner in value.value.values():
                problems += check_schema(inner)
        elif key in ("minimum", "maximum", *_COUNTS) and type_of(value.value) != "number":
            problems.append(value.problem("This must be a number."))
        elif key in ("enum", "required") and not isinstance(value.value, list):
            problems.append(value.problem("This must be a list."))
        elif key == "properties":
            problems.append(value.problem("This must be a mapping of names to schemas."))
    return problems


def check_value(
    template: Template, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Return where the fixed parts of a value do not fit a schema. `root` is where `$ref` is looked up."""
    whole = root if root is not None else schema
    schema = _resolved(schema, whole)
    choices = [choice for key in ("anyOf", "oneOf") for choice in schema.get(key, [])]
    if choices:
        found = [check_value(template, choice, whole) for choice in choices]
        return [] if not all(found) else _of_best(template, choices, found, whole)
    if isinstance(template.value, Expression):
        return []
    if isinstance(template.value, Text):
        return _type_problem(template, schema, "string")
    kind = type_of(template.node.value)
    if problems := _type_problem(template, schema, kind):
        return problems
    problems = _bounds(template, schema)
    if isinstance(template.value, dict):
        problems += _members(template, schema, whole)
    elif isinstance(template.value, list) and isinstance(schema.get("items"), Mapping):
        problems += [one for item in template.value for one in check_value(item, schema["items"], whole)]
    return problems


def _members(template: Template, schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Problem]:
    assert isinstance(template.value, dict)
    properties: Mapping[str, Any] = schema.get("properties", {})
    problems: list[Problem] = []
    for name in schema.get("required", []):
        if name not in template.value:
            problems.append(template.node.problem(f"'{name}' is missing.", _described(properties.get(name, {}))))
    for name, inner in template.value.items():
        if name in properties:
            problems += check_value(inner, properties[name], root)
        elif schema.get("additionalProperties") is False or (properties and "additionalProperties" not in schema):
            place = template.node.keys[name]
            problems.append(place.problem(f"There is no '{name}' here.", near(name, properties)))
    return problems


def _bounds(template: Template, schema: Mapping[str, Any]) -> list[Problem]:
    node, value = template.node, template.node.plain()
    if template.fixed and "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(str(choice) for choice in schema["enum"])
        return [node.problem(f"'{value}' is none of the values there are.", f"Give one of {listed}.")]
    size = value if type_of(value) == "number" else len(value) if isinstance(value, str | list) else None
    if size is None:
        return []
    unit = {"number": "imum", "string": "Length", "array": "Items"}[type_of(value)]
    low, high = schema.get(f"min{unit}"), schema.get(f"max{unit}")
    what = "This" if type_of(value) == "number" else "Its length"
    if low is not None and size < low:
        return [node.problem(f"{what} is {size}.", f"{low} is the least.")]
    if high is not None and size > high:
        return [node.problem(f"{what} is {size}.", f"{high} is the most.")]
    return []


def _type_problem(template: Template, schema: Mapping[str, Any], kind: str) -> list[Problem]:
    wanted = schema.get("type")
    types = [wanted] if isinstance(wanted, str) else wanted
    value = template.node.value
    whole = kind == "number" and float(value).is_integer()
    if not types or kind in types or ("integer" in types and whole):
        return []
    a = "an" if types[0][0] in "aeiou" else "a"
    shown = kind_of(value) if kind != "string" else "text"
    return [template.node.problem(f"This is {shown}.", f"Give {a} {' or '.join(types)}.")]


def unknown_member(schema: Mapping[str, Any], path: Sequence[str | int]) -> tuple[str, Sequence[str]] | None:
    """Return the part of a path that certainly leads nowhere, and what there is in its place."""
    here: Any = schema
    for part in path:
        here = _resolved(here, schema)
        if isinstance(part, int):
            here = here.get("items", {})
        elif here.get("additionalProperties") not in (None, False) or not isinstance(
            properties := here.get("properties"), Mapping
        ):
            return None
        elif part not in properties:
            return part, tuple(properties)
        else:
            here = properties[part]
        if not isinstance(here, Mapping):
            return None
    return None


def _of_best(
    template: Template, choices: list[Mapping[str, Any]], found: list[list[Problem]], root: Mapping[str, Any]
) -> list[Problem]:
    """Return the problems with the choice that was probably meant: the first of the value's own type."""
    kind = type_of(template.node.value)
    for choice, problems in zip(choices, found, strict=True):
        if not _type_problem(template, _resolved(choice, root), kind):
            return problems
    types = [str(_resolved(choice, root).get("type", "something else")) for choice in choices]
    return [template.node.problem(f"This is {kind_of(template.node.value)}.", f"Give {' or '.join(types)}.")]


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_MOST_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            break
        schema = found
    return {}


def _described(schema: Any) -> str:
    description = schema.get("description") if isinstance(schema, Mapping) else None
    return f"It is: {description}" if description else ""


def problems_of_inputs(values: Mapping[str, Json], node: Node, schema: Mapping[str, Any]) -> list[Problem]:
    """Return where given values, which have no place of their own in a text, do not fit a schema."""
    return check_value(_template_of(values, node), schema)


def _template_of(value: Json, node: Node, path: str = "inputs") -> Template:
    if isinstance(value, Mapping):
        inner = {key: _template_of(item, node, f"{path}.{key}") for key, item in value.items()}
        keys = {key: Node(key, f"{path}.{key}", node.line, node.column) for key in value}
        return Template(Node({k: t.node for k, t in inner.items()}, path, node.line, node.column, keys), inner)
    if isinstance(value, list):
        items = [_template_of(item, node, f"{path}[{index}]") for index, item in enumerate(value)]
        return Template(Node([item.node for item in items], path, node.line, node.column), items)
    return Template(Node(value, path, node.line, node.column), value)

"""The expressions of composite workflows: `inputs.path`, `steps.scan.result.counts.high > 0 and not vars.quiet`.

The syntax is a part of Python's; the meaning is this module's own. Paths lead through JSON alone: there is no
attribute of a Python object to reach, nothing is called but the functions listed here, and text, size of the tree
and size of what comes out are bounded.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantum_suite.services.workflows.composite.functions import (
    FUNCTIONS,
    BadExpression,
    Missing,
    bounded,
    kind_of,
    type_of,
)
from quantum_suite.services.workflows.composite.problems import near
from quantum_suite.services.workflows.interface import Json

MAX_CHARACTERS = 1000
MAX_PARTS = 120
_CONSTANTS: dict[str, Json] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that can be read; made by `parse_expression`."""

    text: str
    tree: ast.expr

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Work it out over the names in `scope`; raises BadExpression."""
        return _value(self.tree, scope)

    def references(self) -> list["Reference"]:
        """Return the paths it reads, as far as they are fixed, in the order they are written."""
        return list(_references(self.tree, guarded=False))


@dataclass(frozen=True, slots=True)
class Reference:
    """A path an expression reads."""

    path: tuple[str | int, ...]
    guarded: bool
    """Whether `default(...)` takes care of its being absent."""


def parse_expression(text: str) -> Expression:
    """Read an expression; raises BadExpression."""
    text = text.strip()
    if not text:
        raise BadExpression("The expression is empty.")
    if len(text) > MAX_CHARACTERS:
        raise BadExpression(f"The expression is longer than {MAX_CHARACTERS} characters.", "Split it with set.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python merely warns of ('\\d', 1or 2) is no expression here
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError, Warning) as error:
        why = error.msg if isinstance(error, SyntaxError) else "nested too deeply"
        raise BadExpression(f"'{text[:60]}' is no expression: {why}.") from error
    parts = list(ast.walk(tree))
    if len(parts) > MAX_PARTS:
        raise BadExpression(f"The expression has more than {MAX_PARTS} parts.", "Split it with set.")
    for part in parts:
        _check(part)
    return Expression(text, tree)


def _check(part: ast.AST) -> None:
    if not isinstance(part, _ALLOWED):
        raise BadExpression(
            f"{type(part).__name__} is not part of the language.",
            "There are paths, comparisons, and/or/not, in, + - *, a if b else c, lists and functions.",
        )
    if isinstance(part, ast.Constant) and not isinstance(part.value, str | int | float | bool | None):
        raise BadExpression(f"{part.value!r} is no JSON value.")
    if isinstance(part, ast.Constant):
        bounded(part.value)
    if isinstance(part, ast.Call):
        _check_call(part)


def _check_call(call: ast.Call) -> None:
    if not isinstance(call.func, ast.Name):
        raise BadExpression("Only functions can be called.", near("", FUNCTIONS, kind="function"))
    name = call.func.id
    if name not in FUNCTIONS:
        raise BadExpression(f"There is no function '{name}'.", near(name, FUNCTIONS))
    count = FUNCTIONS[name].arguments
    if call.keywords or len(call.args) != count:
        raise BadExpression(f"{name} takes {count} argument{'s' if count != 1 else ''}.", FUNCTIONS[name].usage)


def _value(tree: ast.expr, scope: Mapping[str, Json]) -> Json:
    match tree:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return _name(name, scope)
        case ast.Attribute(inner, name):
            return _member(_value(inner, scope), name, inner)
        case ast.Subscript(inner, key):
            return _member(_value(inner, scope), _value(key, scope), inner)
        case ast.BoolOp(operation, values):
            return _logic(isinstance(operation, ast.And), values, scope)
        case ast.UnaryOp(operation, inner):
            value = _value(inner, scope)
            return not _boolean(value, inner) if isinstance(operation, ast.Not) else -_number(value, inner)
        case ast.BinOp(left, operation, right):
            return _arithmetic(operation, _value(left, scope), _value(right, scope))
        case ast.Compare(left, operations, others):
            return _comparisons(left, operations, others, scope)
        case ast.IfExp(test, then, otherwise):
            return _value(then if _boolean(_value(test, scope), test) else otherwise, scope)
        case ast.List(items):
            return [_value(item, scope) for item in items]
        case ast.Call(ast.Name(name), arguments):
            return _call(name, arguments, scope)
    raise BadExpression("This is not part of the language.")


def _name(name: str, scope: Mapping[str, Json]) -> Json:
    if name in scope:
        return scope[name]
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise Missing(f"There is no '{name}' here.", near(name, scope))


def _member(value: Json, key: Json, inner: ast.expr) -> Json:
    if isinstance(value, Mapping) and isinstance(key, str):
        if key in value:
            return value[key]
        raise Missing(f"{ast.unparse(inner)} has no '{key}'.", near(key, value))
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool):
        if -len(value) <= key < len(value):
            return value[key]
        raise Missing(f"{ast.unparse(inner)} has {len(value)} items, none numbered {key}.")
    raise Missing(f"{ast.unparse(inner)} is {kind_of(value)}: it has no '{key}'.")


def _logic(is_and: bool, values: list[ast.expr], scope: Mapping[str, Json]) -> bool:
    for part in values:
        if _boolean(_value(part, scope), part) is not is_and:
            return not is_and
    return is_and


def _comparisons(
    left: ast.expr, operations: list[ast.cmpop], others: list[ast.expr], scope: Mapping[str, Json]
) -> bool:
    first = _value(left, scope)
    for operation, other in zip(operations, others, strict=True):
        second = _value(other, scope)
        if not _compare(operation, first, second):
            return False
        first = second
    return True


def _compare(operation: ast.cmpop, left: Json, right: Json) -> bool:
    if isinstance(operation, ast.Eq | ast.NotEq):
        same = type_of(left) == type_of(right) and left == right
        return same is isinstance(operation, ast.Eq)
    if isinstance(operation, ast.In | ast.NotIn):
        if not isinstance(right, str | list | Mapping) or (isinstance(right, str) and not isinstance(left, str)):
            raise BadExpression(f"Nothing can be in {kind_of(right)}.", "Use a list, an object, or text in text.")
        found = any(_compare(ast.Eq(), left, item) for item in right) if isinstance(right, list) else left in right
        return found is isinstance(operation, ast.In)
    if type_of(left) != type_of(right) or type_of(left) not in ("number", "string"):
        raise BadExpression(
            f"{kind_of(left)} and {kind_of(right)} have no order.", "Compare two numbers or two texts."
        )
    return bool(_ORDER[type(operation)](left, right))


def _arithmetic(operation: ast.operator, left: Json, right: Json) -> Json:
    result: Json
    if isinstance(operation, ast.Add) and type_of(left) == type_of(right) in ("string", "array"):
        result = left + right
    elif type_of(left) == type_of(right) == "number":
        result = _NUMBERS[type(operation)](left, right)
    else:
        raise BadExpression(
            f"{kind_of(left)} and {kind_of(right)} do not add up.", "Use two numbers, texts or lists."
        )
    return bounded(result)


def _call(name: str, arguments: list[ast.expr], scope: Mapping[str, Json]) -> Json:
    if name == "default":
        try:
            value = _value(arguments[0], scope)
        except Missing:
            value = None
        return _value(arguments[1], scope) if value is None else value
    return bounded(FUNCTIONS[name].work(*(_value(argument, scope) for argument in arguments)))


def _boolean(value: Json, tree: ast.expr) -> bool:
    if isinstance(value, bool):
        return value
    raise BadExpression(
        f"{ast.unparse(tree)} is {kind_of(value)}, not true or false.", "Compare it with something."
    )


def _number(value: Json, tree: ast.expr) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise BadExpression(f"{ast.unparse(tree)} is {kind_of(value)}, not a number.")


def _references(tree: ast.AST, *, guarded: bool) -> Iterator[Reference]:
    path = _path(tree)
    if path is not None:
        yield Reference(path, guarded)
        return
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        for index, argument in enumerate(tree.args):
            yield from _references(argument, guarded=guarded or (tree.func.id == "default" and index == 0))
        return
    for child in ast.iter_child_nodes(tree):
        yield from _references(child, guarded=guarded)


def _path(tree: ast.AST) -> tuple[str | int, ...] | None:
    match tree:
        case ast.Name(name):
            return None if name in _CONSTANTS else (name,)
        case ast.Attribute(inner, name):
            path = _path(inner)
            return None if path is None else (*path, name)
        case ast.Subscript(inner, ast.Constant(str() | int() as key)):
            path = _path(inner)
            return None if path is None else (*path, key)
    return None


_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NUMBERS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_ALLOWED = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.List, ast.Call, ast.Load, ast.IfExp),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, *_NUMBERS),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.In, ast.NotIn, *_ORDER),
)

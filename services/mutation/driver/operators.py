"""The small changes, one function a kind of node. Each yields (operator, the node as it becomes).

Fields that stay are shared with the original node: nobody changes them. Types, docstrings, `assert` and log
messages are left alone by the walk, see there.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

Change = tuple[str, ast.expr]

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_SWAPPED_CALLS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "startswith": "endswith",
    "endswith": "startswith",
    "lower": "upper",
    "upper": "lower",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "find": "rfind",
    "rfind": "find",
}


def changed(node: Any, **fields: Any) -> Any:
    """Return a copy of a node with some fields replaced."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def expression_changes(node: ast.expr) -> Iterator[Change]:
    """Yield what an expression can become, by itself."""
    if isinstance(node, ast.Compare):
        yield from _compare(node)
    elif isinstance(node, ast.BinOp):
        yield from _binary(node)
    elif isinstance(node, ast.BoolOp):
        new = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "boolean", changed(node, op=new)
    elif isinstance(node, ast.UnaryOp):
        yield ("not" if isinstance(node.op, ast.Not) else "unary"), node.operand
    elif isinstance(node, ast.Constant):
        yield from constant_changes(node)
    elif isinstance(node, ast.Call):
        yield from _call(node)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        for bound in ("lower", "upper", "step"):
            if getattr(node.slice, bound) is not None:
                yield "slice", changed(node, slice=changed(node.slice, **{bound: None}))


def constant_changes(node: ast.Constant) -> Iterator[Change]:
    """Yield what a constant can become."""
    value = node.value
    if isinstance(value, bool):
        yield "constant", changed(node, value=not value)
    elif isinstance(value, (int, float)):
        yield "number", changed(node, value=value + 1)
    elif isinstance(value, str):
        yield "string", changed(node, value=f"XX{value}XX", kind=None)
    elif isinstance(value, bytes):
        yield "string", changed(node, value=b"XX" + value + b"XX")
    elif value is None:
        yield "constant", changed(node, value="")


def condition_changes(node: ast.expr) -> Iterator[Change]:
    """Yield the opposite of a condition that has no operator of its own to turn round."""
    if not isinstance(node, (ast.Compare, ast.Constant)) and not _is_not(node):
        new = ast.UnaryOp(op=ast.Not(), operand=node)
        yield "condition", ast.copy_location(new, node)


def return_changes(node: ast.Return) -> Iterator[Change]:
    """Yield what is returned instead."""
    if node.value is not None and not _is_constant(node.value, None, True, False):
        yield "return", ast.copy_location(ast.Constant(value=None), node.value)


def assigned_changes(value: ast.expr) -> Iterator[Change]:
    """Yield what is assigned instead."""
    if not _is_constant(value, None):
        yield "assignment", ast.copy_location(ast.Constant(value=None), value)


def statement_changes(node: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what a simple statement can become as a whole."""
    if isinstance(node, ast.Break):
        yield "loop", ast.copy_location(ast.Continue(), node)
    elif isinstance(node, ast.Continue):
        yield "loop", ast.copy_location(ast.Break(), node)
    elif isinstance(node, ast.AugAssign):
        other = _ARITHMETIC.get(type(node.op))
        if other is not None and not _is_text(node.value):
            yield "augmented", changed(node, op=other())
        plain = ast.Assign(targets=[node.target], value=node.value, type_comment=None)
        yield "augmented", ast.copy_location(plain, node)
    if _removable(node):
        yield "statement", ast.copy_location(ast.Pass(), node)


def handler_body(node: ast.ExceptHandler) -> list[ast.stmt] | None:
    """Return the body that lets the exception through, or None when it does so already."""
    if isinstance(node.body[0], ast.Raise) and node.body[0].exc is None:
        return None
    return [ast.copy_location(ast.Raise(exc=None, cause=None), node.body[0])]


def _compare(node: ast.Compare) -> Iterator[Change]:
    for table, name in ((_NEGATED, "comparison"), (_BOUNDARY, "boundary")):
        for index, op in enumerate(node.ops):
            other = table.get(type(op))
            if other is not None:
                yield name, changed(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])


def _binary(node: ast.BinOp) -> Iterator[Change]:
    other = _ARITHMETIC.get(type(node.op))
    # Text added to or formatted with anything else knows no other operator: the mutant would say nothing.
    if other is not None and not _is_text(node.left) and not _is_text(node.right):
        yield "arithmetic", changed(node, op=other())


def _call(node: ast.Call) -> Iterator[Change]:
    for index, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield "keyword", changed(node, keywords=[*node.keywords[:index], *node.keywords[index + 1 :]])
    func = node.func
    if isinstance(func, ast.Name) and func.id in _SWAPPED_CALLS:
        yield "call", changed(node, func=changed(func, id=_SWAPPED_CALLS[func.id]))
    elif isinstance(func, ast.Attribute) and func.attr in _SWAPPED_CALLS:
        yield "call", changed(node, func=changed(func, attr=_SWAPPED_CALLS[func.attr]))


def _removable(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        # Without its last yield a function would be no generator: another kind of thing, not a small change.
        return isinstance(node.value, (ast.Call, ast.Await)) and not yields(node)
    if isinstance(node, ast.Assign):
        return not yields(node) and any(not isinstance(target, ast.Name) for target in node.targets)
    return isinstance(node, (ast.AugAssign, ast.Delete, ast.Raise)) and not yields(node)


def yields(node: ast.AST) -> bool:
    """Whether a statement makes the function around it a generator."""
    return any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(node))


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _is_constant(node: ast.expr, *values: object) -> bool:
    return isinstance(node, ast.Constant) and any(node.value is value for value in values)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    )

"""Parses source with tree-sitter's grammars, JSON and TOML with the standard library.

One JSON object a line in: `{"id", "language", "grammar", "content"}`, grammar as `[package, function]` or null,
content in base64. Out: `{"id", "begun"}` before a file is touched, then `{"id", "errors"}` with lines and columns
from 1, or `{"id", "missing"}` where the grammar is not installed. A grammar may hang or crash on hostile input:
whoever runs this gives it a process to lose.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
import tomllib
from typing import Any

MOST_ERRORS = 50


def check(language: str, grammar: list[str] | None, content: bytes) -> dict[str, Any]:
    """Return what is wrong with one file."""
    if grammar is None:
        return {"errors": _data_errors(language, content)}
    package, function = grammar
    try:
        from tree_sitter import Language, Parser

        tables = Language(getattr(importlib.import_module(package), function)())
    except ImportError:
        return {"missing": package.replace("_", "-")}
    return {"errors": _tree_errors(Parser(tables).parse(content), content)}


def _tree_errors(tree: Any, content: bytes) -> list[dict[str, Any]]:
    if not tree.root_node.has_error:
        return []
    lines = content.split(b"\n")
    errors: list[dict[str, Any]] = []
    waiting = [tree.root_node]
    while waiting and len(errors) < MOST_ERRORS:
        node = waiting.pop()
        if node.is_missing:
            errors.append(_at(node, lines, f"'{node.type}' is missing here"))
        elif node.is_error:
            text = content[node.start_byte : node.end_byte][:60].decode("utf-8", "replace").split("\n")[0]
            errors.append(
                _at(node, lines, f"'{text.strip()}' makes no sense here" if text.strip() else "bad syntax")
            )
        elif node.has_error:
            waiting.extend(reversed(node.children))
    return errors


def _at(node: Any, lines: list[bytes], message: str) -> dict[str, Any]:
    (row, column), (end_row, end_column) = node.start_point, node.end_point
    return {
        "message": message,
        "line": row + 1,
        "column": len(lines[row][:column].decode("utf-8", "replace")) + 1,
        "end_line": end_row + 1,
        "end_column": len(lines[end_row][:end_column].decode("utf-8", "replace")) + 1,
    }


def _data_errors(language: str, content: bytes) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
        if language == "json":
            json.loads(text)
        else:
            tomllib.loads(text)
    except json.JSONDecodeError as error:
        return [{"message": error.msg, "line": error.lineno, "column": error.colno}]
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return [{"message": str(error), "line": _told_line(str(error))}]
    except RecursionError:
        return [{"message": "it is nested too deeply to be read", "line": 1}]
    return []


def _told_line(message: str) -> int:
    _, found, rest = message.partition("(at line ")
    number = rest.split(",")[0]
    return int(number) if found and number.isdigit() else 1


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer line by line until the input ends."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _tell({"id": request["id"], "begun": True})
        answer = check(request["language"], request["grammar"], base64.b64decode(request["content"]))
        _tell({"id": request["id"], **answer})

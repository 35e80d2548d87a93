"""Compiles Python source with the interpreter that runs this.

One JSON object a line in: `{"id", "path", "content"}` (base64). Out: `{"id", "begun"}` before a file is touched,
so that whoever waits knows which file ended the process, then `{"id", "errors", "warnings"}`.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from typing import Any


def check(path: str, content: bytes) -> dict[str, Any]:
    """Return what the compiler says of one file."""
    errors: list[dict[str, Any]] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            compile(content, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            errors.append(
                {
                    "message": error.msg,
                    "line": error.lineno,
                    "column": error.offset,
                    "end_line": getattr(error, "end_lineno", None),
                    "end_column": getattr(error, "end_offset", None),
                }
            )
        except (RecursionError, MemoryError):
            errors.append({"message": "it is nested too deeply for Python to compile", "line": 1})
        except ValueError as error:
            errors.append({"message": str(error), "line": 1})
    told = [
        {"message": str(one.message), "line": one.lineno}
        for one in caught
        if issubclass(one.category, (SyntaxWarning, DeprecationWarning))
    ]
    return {"errors": errors, "warnings": told[:50]}


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer line by line until the input ends."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _tell({"id": request["id"], "begun": True})
        answer = check(request["path"], base64.b64decode(request["content"]))
        _tell({"id": request["id"], **answer})

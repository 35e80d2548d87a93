"""The inside of a `WorkerProcess`: reads requests, writes answers, ends when nobody can ask any more."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from quantum_suite.core.errors import SuiteError

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


def serve(start: Callable[[], Answer]) -> None:
    """Answer the requests on stdin until it closes. `start` loads what is heavy, at the first one.

    What libraries print goes to stderr: stdout carries the answers alone.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    handle: Answer | None = None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        reply: dict[str, Any]
        try:
            if handle is None:
                handle = start()
            reply = {} if request.get("start") else handle(request)
        except SuiteError as error:
            reply = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        except Exception as error:
            # Whatever a library raises is this engine's failure; the details are in its stderr.
            traceback.print_exc()
            reply = {"error": {"code": "engine_error", "message": f"{type(error).__name__}: {error}"[:500]}}
        reply["id"] = request["id"]
        _write_all(answers, json.dumps(reply).encode() + b"\n")


def _write_all(file: Any, data: bytes) -> None:
    """Write to an unbuffered pipe, which may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]

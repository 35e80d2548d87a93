"""The process packs are evaluated in: one JSON object on stdin, one on stdout, within its own limits.

Started as `python -m quantum_suite.services.infrastructure_policy.worker`.
"""

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

MEMORY_BYTES = 512 * 1024 * 1024
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
NO_ENGINE_STATUS = 33
TOO_MUCH_MEMORY_STATUS = 34
_LOOK_SECONDS = 0.02


def main() -> int:
    """Evaluate each pack for itself: what is wrong with one says nothing of the others."""
    threading.Thread(target=_watch_memory, daemon=True).start()
    # The engine prints what it thinks of broken modules: that is no answer.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    order = json.load(sys.stdin)
    try:
        from regopy import Input, Interpreter
    except ImportError:
        return NO_ENGINE_STATUS
    answers: dict[str, Any] = {}
    for name, pack in order["packs"].items():
        try:
            engine = Interpreter()
            for file, module in pack["modules"].items():
                engine.add_module(file, module)
            engine.set_input(Input(order["input"]))
            told = json.loads(str(engine.query(f"data.{pack['package']}.violation")))
            answers[name] = {"violations": _found(told)}
        except Exception as error:
            # Foreign policies fail in any way: the caller is told which, and why.
            answers[name] = {"error": f"{error}"[:2_000]}
    with os.fdopen(answer_to, "w") as out:
        json.dump(answers, out)
    return 0


def _watch_memory() -> None:
    """End the process when it holds too much.

    The engine's allocator reserves far more addresses than it uses, so that no limit of the system's would do. It
    runs outside the interpreter's lock, so that this thread goes on.
    """
    while _most_memory() < MEMORY_BYTES:
        time.sleep(_LOOK_SECONDS)
    os._exit(TOO_MUCH_MEMORY_STATUS)


def _most_memory() -> int:
    """Return the most bytes that this program has held.

    What `getrusage` says counts the process this one was forked from, however large that is.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        told = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
    return int(told.split()[1]) * 1024


def _found(told: Any) -> list[Any]:
    expressions = told["expressions"] if isinstance(told, dict) else told[0]["expressions"]
    return list(expressions[0])


if __name__ == "__main__":
    sys.exit(main())

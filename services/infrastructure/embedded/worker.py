"""The process a run happens in: an order on stdin, reports and one answer on stdout; stdin closed, it ends.

Started as `python -m quantum_suite.services.infrastructure.embedded.worker`.
"""

import json
import os
import sys
import tempfile
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from quantum_suite.core.errors import EngineError, SuiteError
from quantum_suite.services.held_folder import sweep
from quantum_suite.services.infrastructure.embedded.order import Order, answer_to_json, error_to_json, order_of
from quantum_suite.services.infrastructure.embedded.program import FOLDER_PREFIX
from quantum_suite.services.infrastructure.embedded.running import Running
from quantum_suite.services.infrastructure.interface import StepReport
from quantum_suite.services.sandbox.opening import best_sandbox

GRACE_SECONDS = 20.0
"""How long what is in flight may take to end once the run is to stop."""


def _say(body: dict[str, Any]) -> None:
    line = json.dumps(body).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


async def _report(report: StepReport) -> None:
    _say({"report": asdict(report)})


async def _work(order: Order) -> dict[str, Any]:
    await anyio.to_thread.run_sync(sweep, Path(tempfile.gettempdir()), FOLDER_PREFIX)
    choice = await best_sandbox()
    running = Running(order, choice.sandbox, _report)
    result: dict[str, Any] = {}

    async def until_closed() -> None:
        """Stop when whoever asked is gone: begin nothing new, and give up after a while."""
        while await anyio.to_thread.run_sync(partial(os.read, 0, 4096), abandon_on_cancel=True):
            pass
        running.stopping.set()
        await anyio.sleep(GRACE_SECONDS)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_closed)
        try:
            with anyio.fail_after(order.request.deadline_seconds):
                result = {"answer": answer_to_json(await running.answer())}
        except TimeoutError:
            result = {"error": error_to_json(_too_slow(order.request.deadline_seconds))}
        except SuiteError as error:
            result = {"error": error_to_json(error)}
        tasks.cancel_scope.cancel()
    return result


def _too_slow(seconds: float) -> SuiteError:
    return EngineError(
        f"The run did not end within {seconds:g} seconds and was stopped.",
        "Preview again to see what is left to do, and give it more time.",
        engine="pulumi",
    )


def _first_line() -> bytes:
    """Read the order, and nothing beyond it: what comes after is waited for elsewhere."""
    pieces: list[bytes] = []
    while not pieces or not pieces[-1].endswith(b"\n"):
        piece = os.read(0, 65_536)
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def main() -> None:
    """Read the order, carry it out, answer."""
    status = 1
    try:
        order = order_of(json.loads(_first_line()))
        _say(anyio.run(_work, order))
        status = 0
    except BaseException:
        # A bug: whoever asked reads it in the end of stderr.
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        # A thread may still wait for stdin, and would keep the process from ending.
        os._exit(status)


if __name__ == "__main__":
    main()

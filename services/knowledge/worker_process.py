"""A child process that answers requests: for libraries that are heavy, hang, or must own what they open.

The other end is `worker_loop`. Requests and answers are lines of JSON; several requests may be under way, and each
is answered in its own time.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import orjson

from quantum_suite.core.errors import (
    CallerError,
    ConfigurationError,
    Damaged,
    EngineError,
    EngineMissing,
    SuiteError,
    Unavailable,
)
from quantum_suite.services.child_process import Child, open_child
from quantum_suite.services.process_group import ProcessError

_MAX_LINE_BYTES = 64 * 1024 * 1024
_KINDS: Mapping[str, type[SuiteError]] = {
    kind.code: kind for kind in (CallerError, ConfigurationError, Damaged, Unavailable)
}


class _Waiting:
    """Somebody waits for an answer."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.answer: dict[str, Any] | None = None


class _Session:
    """One life of the child, and who waits for its answers."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.child: Child
        self.gone: str | None = None
        self.waiting: dict[int, _Waiting] = {}
        self._last = 0

    def take(self, line: bytes) -> None:
        """Hand an answer to whom it is for; who was cancelled meanwhile does not want it any more."""
        try:
            answer = orjson.loads(line)
        except ValueError:
            return
        number = answer.get("id") if isinstance(answer, dict) else None
        waiting = self.waiting.get(number) if isinstance(number, int) else None
        if waiting is not None:
            waiting.answer = answer
            waiting.event.set()

    def ended(self, reason: str) -> None:
        """Tell everybody that no more answers come."""
        self.gone = reason
        for waiting in self.waiting.values():
            waiting.event.set()

    async def exchange(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and wait; the child is ended when it does not answer."""
        self._last += 1
        number, waiting = self._last, _Waiting()
        self.waiting[number] = waiting
        try:
            with anyio.fail_after(seconds):
                await self.child.send(orjson.dumps({**request, "id": number}) + b"\n")
                if self.gone is None:
                    await waiting.event.wait()
        except TimeoutError:
            await self._stop(f"It did not answer within {seconds:g} seconds and was stopped.")
        except ProcessError as error:
            await self._stop(self.gone or error.message)
        finally:
            del self.waiting[number]
        if waiting.answer is None:
            await self.child.aclose()
            raise self._problem()
        if (failed := waiting.answer.get("error")) is not None:
            raise _raised(failed, self.engine)
        return waiting.answer

    async def _stop(self, reason: str) -> None:
        self.ended(reason)
        await self.child.aclose()

    def _problem(self) -> EngineError:
        printed = "\n".join(self.child.stderr_tail)
        return EngineError(f"{self.engine}: {self.gone}", "Try again.", engine=self.engine, printed=printed)


class WorkerProcess:
    """A child started on the first request, and again when it has ended. Belongs to one event loop."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        engine: str,
        start_seconds: float = 60.0,
        answer_seconds: float = 120.0,
    ) -> None:
        """`module` is run with `arguments`; `engine` names it in errors."""
        # Isolated: neither the working directory nor the user's own packages stand before the suite's.
        self._command = [sys.executable, "-I", "-m", module, *arguments]
        self._engine = engine
        self._start_seconds = start_seconds
        self._answer_seconds = answer_seconds
        self._starting = anyio.Lock()
        self._session: _Session | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; None where none was started."""
        return self._session.child.pid if self._session is not None else None

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer. The worker carries on with a request whose caller was cancelled.

        Raises EngineError when the child ended or took too long (it is killed then), and what the child raises of
        the tree.
        """
        session = await self._running()
        return await session.exchange(request, self._answer_seconds)

    async def rest(self) -> None:
        """End the child to free its memory unless somebody waits for it; the next request starts it again."""
        async with self._starting:
            if self._session is not None and not self._session.waiting:
                await self._end()

    async def aclose(self) -> None:
        """End the child; later requests raise Unavailable. Idempotent, not cancellable."""
        with anyio.CancelScope(shield=True):
            async with self._starting:
                self._closed = True
                await self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _running(self) -> _Session:
        async with self._starting:
            if self._closed:
                raise Unavailable(f"{self._engine} is closed.")
            if self._session is not None and self._session.gone is None:
                return self._session
            await self._end()
            return await self._start()

    async def _start(self) -> _Session:
        session = _Session(self._engine)
        try:
            session.child = await open_child(
                self._command,
                on_line=session.take,
                on_end=session.ended,
                cwd=Path(sys.prefix),
                max_line_bytes=_MAX_LINE_BYTES,
            )
        except ProcessError as error:
            raise error.as_engine_error(self._engine) from error
        self._session = session
        try:
            await session.exchange({"start": True}, self._start_seconds)
        except BaseException:
            await self._end()
            raise
        return session

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.child.aclose()


def _raised(failed: Mapping[str, Any], engine: str) -> SuiteError:
    message, hint = str(failed.get("message")), failed.get("hint")
    kind = _KINDS.get(str(failed.get("code")))
    if kind is not None:
        return kind(message, hint)
    missing = failed.get("code") == EngineMissing.code
    return (EngineMissing if missing else EngineError)(message, hint, engine=engine)

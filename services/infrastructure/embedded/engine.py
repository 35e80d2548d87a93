"""The embedded engine behind the `Engine` port: each run in a process of its own, off the event loop."""

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.child_process import open_child
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.infrastructure.embedded.order import Answer, Order, answer_of, error_of
from quantum_suite.services.infrastructure.interface import (
    Deployment,
    Progress,
    RunOutcome,
    StackRef,
    StackRequest,
    StepReport,
    unheard,
)
from quantum_suite.services.infrastructure.plan import Plan, PlanKind
from quantum_suite.services.infrastructure.state.files import FileStateStore, checked_stack

INSTALL_COMMAND = "pip install 'quantum-suite[infra]'"
WORKER = "quantum_suite.services.infrastructure.embedded.worker"
_GRACE_SECONDS = 25.0
_MAX_LINE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EmbeddedEngine:
    """Speaks Pulumi's own protocol to unmodified programs and providers; needs no `pulumi` command."""

    keys: KeyProvider
    state_dir: Path
    program_network: bool = False
    """Whether programs may use the network themselves; providers always may."""
    approved_plans: Callable[[str], Mapping[str, Any] | None] = field(default=lambda _: None)
    """Looks an approved plan up by its digest, so that a refusal can say what differs."""
    name: str = "pulumi-embedded"

    async def preview(
        self, request: StackRequest, progress: Progress = unheard, *, kind: PlanKind = "update"
    ) -> Plan:
        """Return what would be done."""
        plan = (await self._asked(request, "preview", progress, kind=kind)).plan
        assert plan is not None
        return plan

    async def up(self, request: StackRequest, digest: str, progress: Progress = unheard) -> RunOutcome:
        """Do what the plan of that digest says."""
        return await self._run(request, "up", progress, digest)

    async def destroy(self, request: StackRequest, digest: str, progress: Progress = unheard) -> RunOutcome:
        """Delete everything the state holds (or the targets, and what depends on them)."""
        return await self._run(request, "destroy", progress, digest)

    async def refresh(
        self, request: StackRequest, progress: Progress = unheard, *, digest: str = ""
    ) -> RunOutcome:
        """Bring the state up to the world; the world stays as it is. With a digest, exactly as that plan says."""
        return await self._run(request, "refresh", progress, digest)

    async def import_(self, request: StackRequest, progress: Progress = unheard) -> RunOutcome:
        """Take `request.import_` under management; the world stays as it is."""
        return await self._run(request, "import", progress)

    async def state(self, ref: StackRef) -> Deployment:
        """Return the stack's state as it is now, without secrets' values; empty for a new stack."""
        return await anyio.to_thread.run_sync(FileStateStore(self.state_dir).read, ref)

    async def _run(self, request: StackRequest, verb: str, progress: Progress, digest: str = "") -> RunOutcome:
        outcome = (await self._asked(request, verb, progress, digest=digest)).outcome
        assert outcome is not None
        return outcome

    async def _asked(
        self, request: StackRequest, verb: str, progress: Progress, *, kind: PlanKind = "update", digest: str = ""
    ) -> Answer:
        checked_stack(request.ref.stack)
        if importlib.util.find_spec("pulumi") is None:
            raise EngineMissing(
                "Pulumi's SDK is not installed.", f"Install it with `{INSTALL_COMMAND}`.", engine="pulumi"
            )
        await self.keys.current()
        order = Order(
            verb=verb,
            kind=kind,
            request=request,
            keys=tuple([await self.keys.get(key_id) for key_id in await self.keys.ids()]),
            state_dir=self.state_dir,
            digest=digest,
            program_network=self.program_network,
            approved=self.approved_plans(digest) if digest else None,
        )
        return await _worked(order, progress)


async def _worked(order: Order, progress: Progress) -> Answer:
    """Have a worker carry an order out. Cancelled, it is given time to end what is in flight."""
    send, receive = anyio.create_memory_object_stream[bytes | str](10_000)

    def heard(line: bytes) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):  # Nobody listens any more.
            send.send_nowait(line)

    def ended(why: str) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):
            send.send_nowait(why)
        send.close()

    child = await open_child(
        [sys.executable, "-m", WORKER],
        on_line=heard,
        on_end=ended,
        max_line_bytes=_MAX_LINE_BYTES,
        grace_seconds=_GRACE_SECONDS,
    )
    async with child, receive:
        await child.send(json.dumps(order.as_json()).encode() + b"\n")
        async for told in receive:
            if isinstance(told, str):
                raise EngineError(
                    f"The engine's process ended before it answered. {told}",
                    "What it did until then is written down: preview again to see what is left.",
                    engine="pulumi",
                    printed="\n".join(child.stderr_tail),
                )
            body = json.loads(told)
            if "error" in body:
                raise error_of(body["error"])
            if "answer" in body:
                return answer_of(body["answer"])
            await progress(StepReport(**body["report"]))
    raise AssertionError("the stream ends with why")

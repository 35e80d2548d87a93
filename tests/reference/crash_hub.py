"""Starts hubs and workers of the crash suite: whole data planes in processes that are there to be killed.

Each line read is an `Order` in JSON; the answer is the process id. Children are forked from a process that has
imported everything, so that one is at work within a fraction of a second. What a child has to say, above all each
acknowledgement once it has it, goes to its file, a line of JSON each. A file beside that one with the end `.quiet`
has it produce nothing more; SIGTERM ends it in order.
"""

import json
import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any, TypeVar

import anyio
from reference.crash_work import (
    GO,
    KINDS,
    OWNER,
    SUBJECT,
    Counting,
    Following,
    Listening,
    Order,
    World,
    definitions,
    world,
)

# Optional parts are imported when they are needed: here at once, before anything is forked.
import quantum_suite.hub.data_plane.postgres
import quantum_suite.services.workflows.dbos.workflows  # noqa: F401 - before anything is forked
from quantum_suite.core.errors import Conflict, SuiteError, Unavailable
from quantum_suite.core.events import NewEvent
from quantum_suite.core.ids import new_id
from quantum_suite.core.scan_events import ScanResumed, scan_stream
from quantum_suite.hub.data_plane.opening import DataPlane, open_data_plane
from quantum_suite.hub.data_plane.orchestrator import Orchestrator
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.bus.consuming import consume_with_inbox
from quantum_suite.services.workflows.interface import RunQuery, Workflows

T = TypeVar("T")

APPEND_SECONDS = 0.02
RUN_SECONDS = 0.25
SIGNAL_SECONDS = 0.25
RETRY_SECONDS = 0.1
DRAIN_SECONDS = 10.0
ENGINES = ("dbos._sys_db", "dbos._serialization", "dbos._utils", "sqlalchemy", "nats.aio.client", "valkey.asyncio")


class Speaker:
    """Says things in a way that a killed process has said them."""

    def __init__(self, path: Path) -> None:
        self._quiet = path.with_suffix(".quiet")
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, **what: Any) -> None:
        # Where a test lets no file grow, this one still may.
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
        os.write(self._descriptor, json.dumps(what).encode() + b"\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    @property
    def quiet(self) -> bool:
        """Whether nothing more is to be produced."""
        return self._quiet.exists()


async def live(order: Order, speaker: Speaker) -> None:
    """Be a hub, or a worker, until killed or told to end."""
    settings = HubSettings(**order.settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        plane = await until_there(lambda: opened(open_data_plane(settings)), partial(refused, speaker, "open"))
        around = world(Path(order.world), order.name)
        stack.enter_context(around.database)
        tasks = await opened(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        orchestrator = Orchestrator(settings, plane.stores)
        stack.push_async_callback(orchestrator.aclose, DRAIN_SECONDS)
        orchestrator.know(definitions(around))
        plane.projections.add_projection(Counting(around))
        plane.projections.add_consumer(Following(around))
        if settings.bus != "inprocess":
            tasks.start_soon(listen, plane, around)
        plane.run_in(tasks)
        workflows = await until_there(orchestrator.open, partial(refused, speaker, "open"))
        speaker.say(ready=plane.holder, pid=os.getpid())
        if order.produces:
            journal = stack.enter_context(JsonlAuditLog(settings.data_dir / "audit"))
            producer = Producer(order.name, plane, workflows, journal, speaker)
            tasks.start_soon(producer.append)
            tasks.start_soon(producer.start_runs)
            tasks.start_soon(producer.signal)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break
    speaker.say(ended=True, pid=os.getpid())


async def listen(plane: DataPlane, around: World) -> None:
    """Follow the bus."""
    listening = Listening(around)
    await consume_with_inbox(plane.bus, plane.stores.progress, listening.name, SUBJECT, listening.handle)


class Producer:
    """Makes events, records and runs, and says what was acknowledged."""

    def __init__(
        self, name: str, plane: DataPlane, workflows: Workflows, journal: JsonlAuditLog, speaker: Speaker
    ) -> None:
        self._scan = name
        self._stream = scan_stream(name)
        self._plane = plane
        self._workflows = workflows
        self._journal = journal
        self._speaker = speaker

    async def append(self) -> None:
        """Append numbered events, from where the stream stands, and write a record for each batch.

        The last event there is is appended again first: to whoever was killed it is open whether it was stored.
        """
        version = max(await self._version() - 1, 0)
        for turn in count():
            if self._speaker.quiet:
                break
            events = [self._event(version + n) for n in range(1, turn % 3 + 2)]
            try:
                append = partial(self._plane.stores.events.append, self._stream, version, events)
                await until_there(append, partial(refused, self._speaker, "append"))
            except Conflict:  # the last words of whoever was killed came through only now
                version = await self._version()
                continue
            self._speaker.say(appended=[version + 1, [event.id for event in events]])
            version += len(events)
            await until_there(self._record, partial(refused, self._speaker, "record"))
            await anyio.sleep(APPEND_SECONDS)
        self._speaker.say(done="append", pid=os.getpid())

    async def start_runs(self) -> None:
        """Start runs of every kind, one after the other."""
        for workflow, queue in cycle(KINDS):
            if self._speaker.quiet:
                break
            run_id = new_id("run")
            start = partial(self._workflows.start, workflow, None, OWNER, run_id=run_id, queue=queue)
            await until_there(start, partial(refused, self._speaker, "start"))
            self._speaker.say(started=run_id)
            await anyio.sleep(RUN_SECONDS)
        self._speaker.say(done="start", pid=os.getpid())

    async def signal(self) -> None:
        """Answer whoever asks."""
        while True:
            with suppress(Unavailable):
                asking, _ = await self._workflows.find(RunQuery(workflow="asking", state="waiting"))
                for run in asking:
                    await self._workflows.signal(run.id, GO, run.id, key=run.id)
            await anyio.sleep(SIGNAL_SECONDS)

    def _event(self, number: int) -> NewEvent:
        personal = {f"user:{number % 5}": {"name": f"Somebody {number}"}} if number % 4 == 0 else {}
        data = ScanResumed(scan=self._scan, files_left=number)
        return NewEvent(data, id=f"evt_{self._scan}_{number}", personal=personal)

    async def _version(self) -> int:
        async def read() -> int:
            version = 0
            while page := await self._plane.stores.events.read_stream(self._stream, version):
                version = page[-1].version
            return version

        return await until_there(read)

    async def _record(self) -> None:
        call_id = new_id("call")
        told = {"transport": "http", "method": "tools/call", "target": "t", "upstream": "u"}
        ended = {"outcome": "ok", "reason": None, "duration_ms": 1.0, "era": "modern", "protocol_version": "1"}
        self._journal.write(
            AuditRecord(datetime.now(UTC), call_id, OWNER.principal, arguments_sha256="0" * 64, **told, **ended)
        )
        self._speaker.say(recorded=call_id)


def refused(speaker: Speaker, what: str, error: SuiteError) -> None:
    """Say that something was refused, and in which words."""
    speaker.say(refused=what, code=error.code, text=str(error), pid=os.getpid())


async def until_there(work: Callable[[], Awaitable[T]], tell: Callable[[SuiteError], None] | None = None) -> T:
    """Do something until nothing that it needs is away; `tell` is told the first time."""
    told = False
    while True:
        try:
            return await work()
        except SuiteError as error:
            if not error.retryable:
                raise
            if tell is not None and not told:
                tell(error)
            told = True
            await anyio.sleep(RETRY_SECONDS)


def run_child(order: Order) -> None:
    """Be the child; never returns."""
    speaker = Speaker(Path(order.said))
    log = os.open(f"{order.said}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {os.getpid()} %(name)s %(levelname)s %(message)s")
    try:
        anyio.run(live, order, speaker)
    except BaseException:
        speaker.say(died=traceback.format_exc())
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Fork a child for each order."""
    for engine in ENGINES:
        __import__(engine)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run_child(Order(**json.loads(line)))
        print(child, flush=True)


if __name__ == "__main__":
    main()

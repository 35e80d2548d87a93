"""One PostgreSQL server of a drill: made, started, killed, frozen, asked. It listens in its folder alone."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, EngineError
from quantum_suite.services import process
from quantum_suite.services.child_process import Child, open_child
from quantum_suite.services.recovery.leftovers import end_processes, processes_in
from quantum_suite.services.recovery.programs import Programs, give, give_tree

if TYPE_CHECKING:
    from psycopg import AsyncConnection

ROLE = "quantum_drill"
_PORT = 5432
_START_SECONDS = 120.0
_LONGEST_SOCKET = 100
_SQL_SECONDS = 60.0
_HBA = "local all all trust\nlocal replication all trust\n"

SAFE = {
    # Whatever a copy of a live system was set to do to the world, it does not do here: no address, no archive,
    # no subscription, no library that runs jobs, no trigger on login.
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "wal_level": "replica",
    "wal_log_hints": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "hot_standby": "on",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_connections": "100",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m ",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "16MB",
}


class Cluster:
    """A data folder, and the server on it while it runs."""

    def __init__(self, programs: Programs, folder: Path, name: str) -> None:
        self.programs = programs
        self.name = name
        self.home = folder / name
        self.data = self.home / "data"
        self.sockets = self.home / "s"
        self.child: Child | None = None
        self.wanted = False
        """Whether its end, now, would be a surprise."""
        self.last_words: list[str] = []
        self.settings: dict[str, str] = {}

    @property
    def conninfo(self) -> str:
        """Return how it is reached."""
        return f"host='{self.sockets}' port={_PORT} user={ROLE} dbname=postgres"

    def make_home(self) -> None:
        """Make its folders; raises ConfigurationError where a socket's path would be too long."""
        if len(str(self.sockets / f".s.PGSQL.{_PORT}")) > _LONGEST_SOCKET:
            raise ConfigurationError(
                f"The scratch folder {self.home.parent} is too long a path for a server's socket.",
                "Name a shorter one in QUANTUM_DRILLS.",
            )
        for place in (self.home, self.data, self.sockets):
            place.mkdir(mode=0o700)
            give(place)

    async def run(self, program: str, *arguments: object, stdin: bytes | None = None, seconds: float = 600) -> str:
        """Run one of PostgreSQL's programs; returns what it said. Raises EngineError with its last words."""
        try:
            done = await process.run(
                self.programs.command(program, *arguments),
                cwd=self.home,
                env=self.environment(),
                stdin=stdin,
                timeout_seconds=seconds,
                max_output_bytes=4_000_000,
            )
        except process.ProcessError as error:
            raise error.as_engine_error(program) from error
        if done.returncode != 0:
            last = (done.stderr_tail.strip().splitlines() or ["it said nothing"])[-1][:300]
            raise EngineError(
                f"{program} failed on the {self.name}: {last}",
                "Look at the room and the rights of the scratch folder.",
                engine=program,
                printed=done.stderr_tail,
            )
        return done.stdout.decode(errors="replace")

    def environment(self) -> dict[str, str]:
        """Return what its programs find in their environment: nothing of a person's."""
        return {"HOME": str(self.home), "LC_ALL": "C", "LANG": "C", "PGTZ": "UTC", "TZ": "UTC"}

    async def initialise(self) -> None:
        """Make an empty database cluster."""
        self.make_home()
        await self.run(
            "initdb",
            *("-D", self.data, "-U", ROLE, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"),
            *("--no-instructions", "--data-checksums"),
        )

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write its configuration: ours alone, whatever a copy brought along."""
        self.settings = {**SAFE, "unix_socket_directories": str(self.sockets), **settings}
        if self.programs.major >= 17:
            self.settings["event_triggers"] = "off"
        lines = [f"{name} = {_quoted(value)}" for name, value in self.settings.items()]
        for name, text in (
            ("postgresql.conf", "\n".join(lines) + "\n"),
            ("postgresql.auto.conf", ""),
            ("pg_hba.conf", _HBA),
            ("pg_ident.conf", ""),
        ):
            (self.data / name).write_text(text)
            (self.data / name).chmod(0o600)
            give(self.data / name)

    def mark(self, signal_file: str) -> None:
        """Put one of the files into the data folder that tell a server what to be (`standby.signal`)."""
        (self.data / signal_file).touch(mode=0o600)
        give(self.data / signal_file)

    def own(self) -> None:
        """Give everything in its home to the server's user."""
        give_tree(self.home)

    async def launch(self) -> None:
        """Start its server, without waiting until it answers."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.child = await open_child(
            self.programs.command("postgres", "-D", self.data),
            on_line=lambda _: None,
            on_end=lambda _: None,
            env=self.environment(),
            cwd=self.home,
            grace_seconds=1.0,
        )
        self.wanted = True

    async def start(self) -> None:
        """Start its server and wait until it answers."""
        await self.launch()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it takes connections; raises EngineError when it ends instead."""
        import psycopg

        with anyio.move_on_after(_START_SECONDS):
            while True:
                self.check()
                with contextlib.suppress(psycopg.OperationalError):
                    async with await psycopg.AsyncConnection.connect(self.conninfo, connect_timeout=5):
                        return
                await anyio.sleep(0.005)
        raise self._error(f"did not answer within {_START_SECONDS:g} seconds")

    def check(self) -> None:
        """Raise EngineError when the server has ended and nobody wanted that."""
        if self.wanted and (self.child is None or self.child.returncode is not None):
            raise self._error("ended")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["AsyncConnection[Any]"]:
        """Connect, in autocommit mode; raises EngineError when it is away or does not answer."""
        import psycopg

        try:
            with anyio.fail_after(_SQL_SECONDS):
                async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
                    yield connection
        except (psycopg.Error, TimeoutError) as error:
            self.check()
            text = str(error).partition("\n")[0] or f"no answer within {_SQL_SECONDS:g} seconds"
            raise self._error(f"failed: {text}") from error

    async def timeline(self) -> str:
        """Return the timeline it writes to: one more with every promotion."""
        return str(int(str(await self.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())"))[:8], 16))

    async def ask(self, query: str) -> Any:
        """Run one query; returns the first value of its first row."""
        async with self.connection() as connection:
            row = await (await connection.execute(query.encode())).fetchone()
        return row[0] if row else None

    def kill(self) -> None:
        """End every process of it at once, as the loss of its machine does."""
        self.wanted = False
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Have every process of it stand still: connections stay open, nothing is answered."""
        self.wanted = False
        self._signal(signal.SIGSTOP)

    async def fence(self) -> bool:
        """Kill it and wait until no process of it is left; returns whether that is so."""
        self.kill()
        await anyio.to_thread.run_sync(end_processes, self.data)
        return not await anyio.to_thread.run_sync(processes_in, self.data)

    async def end(self) -> None:
        """Kill it and wait until no process of it is left. Idempotent, not cancellable."""
        self.wanted = False
        with anyio.CancelScope(shield=True):
            self._signal(signal.SIGKILL)
            await anyio.to_thread.run_sync(end_processes, self.data)
            if self.child is not None:
                await self.child.aclose()
                self.last_words = [*self.last_words, *self.child.stderr_tail][-60:]
                self.child = None

    def log(self) -> tuple[str, ...]:
        """Return its last lines, secrets masked."""
        now = self.child.stderr_tail if self.child is not None else []
        return tuple([*self.last_words, *now][-40:])

    def _signal(self, number: int) -> None:
        if self.child is None:
            return
        if self.child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.pid, number)
        # Only now that the postmaster starts nobody any more is a list of them whole. Who is left out may wait for
        # good: for a lock that one who was killed had.
        for pid in processes_in(self.data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _error(self, what: str) -> EngineError:
        printed = "\n".join(self.log())
        telling = [line for line in self.log() if any(word in line for word in ("FATAL", "PANIC", "could not"))]
        last = f": {telling[-1][:300]}." if telling else "."
        return EngineError(
            f"The drill's {self.name} {what}{last}",
            "Its last lines are in the evidence; run the drill again when the cause is mended.",
            engine="postgresql",
            printed=printed,
        )


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"

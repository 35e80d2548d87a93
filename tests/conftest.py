"""What every test may use."""

import gc
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
from hypothesis import HealthCheck, settings
from reference.backends import S3, Nats, Postgres, Valkey, running
from reference.models import ModelServer
from reference.prometheus import STANDING_RULES, Watched, watched_shop

_numbers = itertools.count(1)
gc.set_threshold(20_000, 20, 20)
# What is wrong does not depend on how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's sight, as a hub does: it stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop the suite ships with."""
    return "asyncio"


@pytest.fixture(scope="session")
def backends_directory() -> Iterator[Path]:
    """Where servers keep their data: a place every user may reach, since PostgreSQL will not run as root."""
    directory = Path(tempfile.mkdtemp(prefix="backends-"))
    directory.chmod(0o755)
    yield directory
    rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(backends_directory: Path) -> Iterator[Postgres]:
    """PostgreSQL for the whole session. A test that kills its server starts one of its own."""
    server = Postgres(backends_directory / "postgres")
    with running(server):
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> str:
    """An empty PostgreSQL database of the test's own."""
    return postgres_server.new_database(f"test_{os.getpid()}_{next(_numbers)}")


@pytest.fixture(scope="session")
def nats_url(backends_directory: Path) -> Iterator[str]:
    """NATS with JetStream for the whole session: take names of the test's own."""
    server = Nats(backends_directory / "nats")
    with running(server):
        yield server.url


@pytest.fixture(scope="session")
def watched(backends_directory: Path) -> Iterator[Watched]:
    """A small service under Prometheus and Alertmanager for the whole session: look, change nothing."""
    with watched_shop(backends_directory / "watched", rules={"standing": STANDING_RULES}) as running_shop:
        yield running_shop


@pytest.fixture(scope="session")
def valkey_url(backends_directory: Path) -> Iterator[str]:
    """Valkey for the whole session: take keys of the test's own."""
    server = Valkey(backends_directory / "valkey")
    with running(server):
        yield server.url


@pytest.fixture(scope="session")
def s3_server(backends_directory: Path) -> Iterator[S3]:
    """An S3 server with a bucket for the whole session."""
    server = S3(backends_directory / "s3")
    with running(server):
        yield server


@pytest.fixture(scope="session")
def model_server(backends_directory: Path) -> Iterator[ModelServer]:
    """A small language model behind llama.cpp, for the whole session. A test that kills one starts its own."""
    server = ModelServer(backends_directory / "model")
    with running(server):
        yield server

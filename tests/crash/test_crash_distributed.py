"""Hubs, workers, PostgreSQL and NATS are killed again and again: nothing is lost, doubled or stuck."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from reference.backends import S3, Nats, Postgres, running
from reference.crash_checking import check
from reference.crash_work import Order
from reference.crashing import crew

from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("QUANTUM_KILLS", "6"))
SEED = os.environ.get("QUANTUM_SEED") or os.urandom(4).hex()
MACHINES = ("hub", "worker", "another")


@dataclass(frozen=True, slots=True)
class Servers:
    """What one suite uses, and loses again and again; and what all use, which may be away, and is not here."""

    name: str
    postgres: Postgres
    nats: Nats
    cache: str
    objects: S3
    leases: str | None
    """Where these are: in the database when None."""

    def settings(self, home: Path, database: str) -> HubSettings:
        """Return the settings of a machine of its own, which shares the servers and the keys with the others."""
        return HubSettings(
            data_dir=home,
            database=database,
            bus=self.nats.url,
            leases=self.leases,
            cache=self.cache,
            objects=self.objects.url,
            encryption_keys=(home.parent / "keys.json").as_uri(),
            analytics=False,
        )


@pytest.fixture
def suites(backends_directory: Path, valkey_url: str, s3_server: S3) -> Iterator[list[Servers]]:
    """Servers of the test's own: one suite has its leases in the database, another one at the broker."""
    with ExitStack() as stack:

        def servers(name: str) -> tuple[Postgres, Nats]:
            postgres, nats = (
                Postgres(backends_directory / name / "postgres"),
                Nats(backends_directory / name / "nats"),
            )
            for server in (postgres, nats):
                stack.enter_context(running(server))
            return postgres, nats

        of_database, of_broker = servers("leases_in_database"), servers("leases_at_broker")
        yield [
            Servers("database", *of_database, valkey_url, s3_server, None),
            Servers("broker", *of_broker, valkey_url, s3_server, of_broker[1].url),
        ]


@pytest.mark.timeout(240 + 6 * KILLS)
async def test_what_was_acknowledged_survives_kills_of_hub_worker_database_and_broker(
    tmp_path: Path, suites: list[Servers]
) -> None:
    print(f"QUANTUM_SEED={SEED} QUANTUM_KILLS={KILLS}")
    # Side by side, for most of the time is spent waiting for what was lost to be given out again.
    async with anyio.create_task_group() as tasks:
        for servers in suites:
            home = tmp_path / servers.name
            home.mkdir()
            tasks.start_soon(torment, servers, home)


async def torment(servers: Servers, home: Path) -> None:
    database = servers.postgres.new_database("suite")
    machines = {name: servers.settings(home / name, database) for name in MACHINES}
    orders = [
        Order(name, name == "hub", settings.model_dump(mode="json"), str(home), str(home / f"{name}.said"))
        for name, settings in machines.items()
    ]
    seed, environment = f"{SEED} {servers.name}", servers.objects.environment
    async with crew(orders, home, [servers.postgres, servers.nats], seed, environment) as everybody:
        await everybody.ready()
        await everybody.torment(KILLS, freezes=max(1, KILLS // 40))
        print(f"leases at the {servers.name}:", await check(everybody, machines["hub"], home))

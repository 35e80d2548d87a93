"""Hubs, workers, PostgreSQL and NATS are killed again and again: nothing is lost, doubled or stuck."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from reference.backends import S3, Backend, Nats, Postgres, running
from reference.crash_checking import check
from reference.crash_work import Order
from reference.crashing import crew

from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("QUANTUM_KILLS", "10"))
FREEZES = max(1, KILLS // 40)
SEED = os.environ.get("QUANTUM_SEED") or os.urandom(4).hex()


@dataclass
class Servers:
    """Servers of a test's own, to be killed."""

    postgres: Postgres
    nats: Nats

    @property
    def all(self) -> list[Backend]:
        return [self.postgres, self.nats]


@pytest.fixture
def servers(backends_directory: Path, request: pytest.FixtureRequest) -> Iterator[Servers]:
    where = backends_directory / request.node.name
    postgres, nats = Postgres(where / "postgres"), Nats(where / "nats")
    with ExitStack() as stack:
        stack.enter_context(running(postgres))
        stack.enter_context(running(nats))
        yield Servers(postgres, nats)


def settings_of(name: str, directory: Path, servers: Servers, database: str, **more: str) -> HubSettings:
    """Return the settings of a machine of its own, which shares the servers and the keys."""
    return HubSettings(
        data_dir=directory / name,
        database=database,
        bus=servers.nats.url,
        encryption_keys=(directory / "keys.json").as_uri(),
        analytics=False,
        **more,
    )


@pytest.mark.timeout(240 + 6 * KILLS)
@pytest.mark.parametrize("leases", ["postgres", "nats"])
async def test_what_was_acknowledged_survives_kills_of_hub_worker_database_and_broker(
    tmp_path: Path, servers: Servers, valkey_url: str, s3_server: S3, leases: str
) -> None:
    print(f"QUANTUM_SEED={SEED} QUANTUM_KILLS={KILLS}")
    more = {"cache": valkey_url, "objects": s3_server.url}
    if leases == "nats":
        more["leases"] = servers.nats.url
    database = servers.postgres.new_database("suite")
    machines = {
        name: settings_of(name, tmp_path, servers, database, **more) for name in ("hub", "worker", "another")
    }
    orders = [
        Order(name, name == "hub", of.model_dump(mode="json"), str(tmp_path), str(tmp_path / f"{name}.said"))
        for name, of in machines.items()
    ]
    async with crew(orders, tmp_path, servers.all, SEED, s3_server.environment) as everybody:
        await everybody.ready()
        await everybody.torment(KILLS, FREEZES)
        print(await check(everybody, machines["hub"], tmp_path))

"""Hub and worker of one machine, over files, are killed again and again: nothing is lost, doubled or stuck."""

import os
from pathlib import Path

import pytest
from reference.crash_checking import check
from reference.crash_work import Order
from reference.crashing import crew

from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("QUANTUM_KILLS", "10"))
FREEZES = KILLS // 100
SEED = os.environ.get("QUANTUM_SEED") or os.urandom(4).hex()


@pytest.mark.timeout(180 + 4 * KILLS)
async def test_what_was_acknowledged_survives_kills_of_hub_and_worker_over_files(tmp_path: Path) -> None:
    print(f"QUANTUM_SEED={SEED} QUANTUM_KILLS={KILLS}")
    settings = HubSettings(data_dir=tmp_path / "data", cache="sqlite")
    told = settings.model_dump(mode="json")
    orders = [
        Order(name, name == "hub", told, str(tmp_path), str(tmp_path / f"{name}.said"))
        for name in ("hub", "worker")
    ]
    async with crew(orders, tmp_path, [], SEED) as everybody:
        await everybody.ready()
        await everybody.torment(KILLS, FREEZES)
        print(await check(everybody, settings, tmp_path))

"""What ends when a server does."""

from pathlib import Path

import anyio
import pytest

from quantum_suite.services.recovery.cluster import Cluster
from quantum_suite.services.recovery.leftovers import end_processes, processes_in
from quantum_suite.services.recovery.programs import Programs

pytestmark = pytest.mark.anyio

# Like the real one it starts somebody for whoever connects, and here that is all the time.
BUSY_POSTMASTER = """\
#!/bin/sh
cd "$2"
while :; do
    (sleep 5; :) &
    sleep 0.001
done
"""


@pytest.fixture
def busy(backends_directory: Path, request: pytest.FixtureRequest) -> Cluster:
    folder = backends_directory / f"cluster-{abs(hash(request.node.name)) % 10**6}"
    folder.mkdir(mode=0o711)
    program = folder / "postgres"
    program.write_text(BUSY_POSTMASTER)
    program.chmod(0o755)
    return Cluster(Programs(folder, "18.0", 18), folder, "busy")


async def test_who_is_started_while_a_server_is_killed_is_killed_with_it(busy: Cluster) -> None:
    busy.make_home()
    for _ in range(3):
        await busy.launch()
        try:
            with anyio.fail_after(20):
                while len(processes_in(busy.data)) < 10:
                    await anyio.sleep(0.01)
            busy.kill()
            with anyio.move_on_after(2):
                while processes_in(busy.data):
                    await anyio.sleep(0.01)
            assert processes_in(busy.data) == []
        finally:
            end_processes(busy.data)
            await busy.end()

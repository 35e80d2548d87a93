"""Starts relays as processes that can be killed: one more for each line read, its process id printed.

    relay_child.py DIRECTORY NATS_URL

It forks, having imported everything: a relay is at work within milliseconds.
"""

import logging
import os
import signal
import sys
from pathlib import Path

import anyio
from reference.things import registry

from quantum_suite.services.bus.nats import NatsBus
from quantum_suite.services.bus.nats_connection import open_nats
from quantum_suite.services.events.relay import Relay
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.projections.sqlite import SqliteProgressStore


async def relay(directory: Path, nats_url: str, holder: str) -> None:
    """Relay from the stores in `directory` until killed."""
    async with SqliteEventStore(directory / "events.db", registry()) as events, open_nats(nats_url) as connection:
        with (
            SqliteProgressStore(directory / "progress.db") as progress,
            SqliteLeaseStore(directory / "leases.db") as leases,
        ):
            await Relay(events, NatsBus(connection), progress, leases, holder=holder, ttl_seconds=1).run()


def main() -> None:
    """Fork a relay for each line, which names its holder."""
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            anyio.run(relay, Path(sys.argv[1]), sys.argv[2], line.strip())
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()

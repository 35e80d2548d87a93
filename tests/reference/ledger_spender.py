"""Spends from a ledger until its budget refuses, as a process of its own: `ledger_spender.py FILE NAME TOKENS`.

Prints a line for each charge that is settled. Killed at any time, it leaves a reservation at most.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from quantum_suite.core.errors import Refused
from quantum_suite.services.llm.ledger.interface import EVERYBODY, Budget, Outcome, Reservation
from quantum_suite.services.llm.ledger.sqlite import SqliteLedger

HELD = 100
TOOK = 60


async def spend(ledger: SqliteLedger, name: str, budget: Budget) -> None:
    """Reserve and settle until the budget refuses."""
    number = 0
    while True:
        number += 1
        expires = datetime.now(UTC) + timedelta(minutes=1)
        call = f"{name}-{number}"
        try:
            await ledger.reserve(Reservation("ann", call, 1, "d", "local", "m", "", HELD, HELD, expires), [budget])
        except Refused:
            return
        await ledger.settle("ann", call, 1, Outcome("answered", TOOK // 2, TOOK // 2, TOOK, False))
        print(call, flush=True)


def main() -> None:
    """Run."""
    file, name, tokens = sys.argv[1:]
    with SqliteLedger(Path(file)) as ledger:
        anyio.run(spend, ledger, name, Budget(EVERYBODY, "day", None, int(tokens)))


if __name__ == "__main__":
    main()

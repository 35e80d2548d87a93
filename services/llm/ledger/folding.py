"""Keeps the ledger short: attempts that nobody asks for by themselves any more become daily sums."""

import logging
from datetime import UTC, datetime, timedelta

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.llm.ledger.interface import Ledger

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 6 * 3600.0


async def fold_again_and_again(ledger: Ledger, kept_days: int, *, pause_seconds: float = PAUSE_SECONDS) -> None:
    """Fold what is older than `kept_days`, at once and every few hours, until cancelled."""
    while True:
        try:
            folded = await ledger.fold(datetime.now(UTC) - timedelta(days=kept_days))
        except SuiteError as error:
            logger.warning("Old charges of models are folded later: %s", error)
        else:
            if folded:
                logger.info("Folded %d charges of models into daily sums.", folded)
        await anyio.sleep(pause_seconds)
